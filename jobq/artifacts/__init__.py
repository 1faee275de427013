"""Artifacts: what handlers make that is too large for a result, kept in a folder or in S3 or R2.

`job.save` stores them, the HTTP API serves or signs them, `jobq artifacts` lists and sweeps them.

>>> queue = jobq.Queue("sqlite:///jobs.db", artifacts="artifacts")
>>> @jobq.handler("image_generation")
... async def image_generation(payload: dict, job: jobq.JobContext) -> dict:
...     image = await job.save(await paint(payload["prompt"]), name="image.png")
...     return {"imageUrls": [image.url], "imageIds": [image.id]}
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jobq._errors import StorageError, StorageUnavailable
from jobq.artifacts._artifact import Artifact, Storage, Sweep
from jobq.artifacts._settings import storage_of

if TYPE_CHECKING:
    from jobq.artifacts._folder import FileStorage
    from jobq.artifacts._s3 import S3Storage

__all__ = [
    "Artifact",
    "FileStorage",
    "S3Storage",
    "Storage",
    "StorageError",
    "StorageUnavailable",
    "Sweep",
    "storage_of",
]

_LATER = {"FileStorage": "jobq.artifacts._folder", "S3Storage": "jobq.artifacts._s3"}

if not TYPE_CHECKING:  # type checkers would take any name for one of jobq's

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_LATER[name]), name)
        return found
