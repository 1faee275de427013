"""The app of the scenarios about artifacts: workers that die while they save something.

`python -m tests.faults.savers saving OPTIONS`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

import jobq
from jobq.artifacts import FileStorage, S3Storage, Storage
from tests.artifacts import KEYS
from tests.faults import app
from tests.faults.actors import Actor
from tests.faults.app import Options, role, router
from tests.faults.history import History
from tests.faults.stage import Orders

DOOMS = ("before", "midway", "after")
"""When a worker dies: before an upload, in it, and after it."""
SIZE = 2_500_000
SLOW = 0.02
"""Seconds that a job takes at least, so that none is held ahead and dies before its first start."""
doom: ContextVar[str | None] = ContextVar("doom", default=None)


class Saver(Actor):
    """A process of this app."""

    app = "tests.faults.savers"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def content_of(seed: int) -> bytes:
    return f"{seed} ".encode() * (SIZE // len(f"{seed} "))


@router.handler("save", retry=jobq.Retry(max_attempts=4, backoff=jobq.Fixed(0)))
async def save(payload: dict[str, Any], job: jobq.JobContext) -> dict[str, str]:
    """Saves something, and takes its process with it in between, or fails, the first time."""
    job.state.note("start", job=job.id, attempt=job.attempt)
    await asyncio.sleep(SLOW)
    how = payload.get("how") if job.attempt == 1 else None
    doom.set(how)
    # No two attempts make the same, but two jobs may.
    content = content_of(payload["content"] + 100 * (job.attempt - 1))
    saved = await job.save(content, name="content.bin")
    if how == "after":
        die()
    if how == "fails":
        raise ValueError("the paper is jammed")
    job.state.note("end", job=job.id)
    return {"id": saved.id, "sha256": hashlib.sha256(content).hexdigest()}


class Fatal:
    """A file whose reader does not live to see its end."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.reads = file, 0

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        if self.reads == 2:
            die()
        return self.file.read(size if size > 0 else 65536)


class DeadlyFolder(FileStorage):
    """Kills who saves, as the job says."""

    def put(self, key: str, content: BinaryIO, *, size: int, content_type: str) -> None:
        if doom.get() == "before" or (doom.get() == "midway" and self._path(key).exists()):
            die()
        read: Any = Fatal(content) if doom.get() == "midway" else content
        super().put(key, read, size=size, content_type=content_type)


class DeadlyBucket(S3Storage):
    """The same; midway is when the server has it, and this process does not know yet."""

    def put(self, key: str, content: BinaryIO, *, size: int, content_type: str) -> None:
        if doom.get() == "before":
            die()
        super().put(key, content, size=size, content_type=content_type)
        if doom.get() == "midway":
            die()


def storage_at(where: dict[str, str], *, deadly: bool = False) -> Storage:
    """The storage of a scenario: `{"folder": …}`, or `{"bucket": …, "endpoint": …}`."""
    if "folder" in where:
        folder = Path(where["folder"])
        return DeadlyFolder(folder) if deadly else FileStorage(folder)
    bucket = DeadlyBucket if deadly else S3Storage
    return bucket(where["bucket"], endpoint=where["endpoint"], region="auto", **KEYS)


@role
def saving(options: Options, history: History, orders: Orders) -> None:
    """A worker with a storage that kills."""
    queue = {"artifacts": storage_at(options["where"], deadly=True)}
    app.ROLES["worker"](options | {"queue": queue}, history, orders)


if __name__ == "__main__":
    app.main()
