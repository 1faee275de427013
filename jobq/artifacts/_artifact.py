"""An artifact, and what a storage has to be able to do."""

from __future__ import annotations

from datetime import datetime
from typing import Any, BinaryIO, Protocol, runtime_checkable

from attrs import frozen

from jobq._model import iso


def reference(id: str) -> str:
    """What stands in a result for an artifact, until it is read through the HTTP API."""
    return f"artifact:{id}"


@frozen(kw_only=True)
class Artifact:
    """Something that a job has saved.

    - `url`: its public address where the storage has one. Otherwise what `job.save` returns has
      `artifact:<id>` there, for which the HTTP API puts an address whenever the job is read, and
      what `queue.artifacts` returns has an address that is good for an hour, or `None`.
    - `key`: where it is in the storage, from its `sha256`: the same bytes are stored once.
    - `bytes`: how many. `content_type`: by its first bytes, and else as it was said.
    - `step` and `slot`: where in the job it was saved; a later attempt replaces what it saves anew.
    - `status`: `stored` once the step or the job that saved it has ended, `uploading` before,
      `replaced` where a later attempt has saved another one in its place.
    """

    id: str
    job_id: str
    name: str
    key: str
    url: str | None
    sha256: str
    bytes: int
    content_type: str
    status: str = "uploading"
    step: str = ""
    slot: str = ""
    created_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape: camelCase, ISO 8601 in UTC."""
        return {
            "id": self.id,
            "jobId": self.job_id,
            "name": self.name,
            "url": self.url,
            "contentType": self.content_type,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "key": self.key,
            "step": self.step,
            "status": self.status,
            "createdAt": iso(self.created_at),
        }


@frozen(kw_only=True)
class Sweep:
    """What a sweep has removed, or would.

    `rows` that stood for nothing any more, the `objects` that only they named, and their `bytes`.
    """

    rows: int
    objects: int
    bytes: int
    dry_run: bool


@runtime_checkable
class Storage(Protocol):
    """Where artifacts are kept. Every method may block; any thread may call.

    They raise `StorageUnavailable` where trying again may help, else `StorageError`.
    """

    @property
    def prefix(self) -> str:
        """What all keys begin with."""

    def put(self, key: str, content: BinaryIO, *, size: int, content_type: str) -> None:
        """Store the bytes of a file, whole or not at all; nothing where the key is there already.

        Keys come from what is stored under them, so what is there is the same.
        """

    def read(self, key: str, start: int, length: int) -> bytes:
        """Some of the bytes, fewer at the end. Raises `FileNotFoundError` where there are none."""

    def delete(self, key: str) -> None:
        """Remove it, if it is there."""

    def public_url(self, key: str) -> str | None:
        """The address where everybody may read it, if there is one."""

    def signed_url(self, key: str, *, seconds: int) -> str | None:
        """An address that is good for so long, if the storage has such."""
