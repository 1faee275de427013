"""What a queue can do about artifacts; verbs as those of `_verbs`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve

from jobq import backends
from jobq._config import Config
from jobq._enqueue import span
from jobq._model import job_id
from jobq._steps import Aside, Do
from jobq._verbs import Verb

if TYPE_CHECKING:
    from jobq.artifacts import Artifact, Storage, Sweep

SIGNED_FOR = 3600
"""For how many seconds an address is good that was signed when it was asked for."""
NO_ID = "00000000-0000-0000-0000-000000000000"


def artifacts(config: Config, ids: Iterable[Any]) -> Verb[list[Artifact]]:
    """The artifacts of jobs, with addresses where the storage has some."""
    found = yield Do(backends.ops.artifacts_of, [job_id(id) for id in ids])
    return (yield Aside(partial(_addressed, config, found))) if found else []


def _addressed(config: Config, found: list[Artifact]) -> list[Artifact]:
    return [evolve(one, url=address(config.storage, one)) for one in found]


def address(storage: Storage, artifact: Artifact) -> str | None:
    """Where what is stored may be read by whoever is given the address; `None` where nowhere."""
    if artifact.status != "stored":
        return None
    key = artifact.key
    return storage.public_url(key) or storage.signed_url(key, seconds=SIGNED_FOR)


def sweep_artifacts(config: Config, *, older_than: Any, dry_run: bool) -> Verb[Sweep]:
    from jobq.artifacts import Sweep

    grace = span(older_than, "older_than")
    storage: Storage = yield Aside(lambda: config.storage)
    seen, deleted, size, after = 0, 0, 0, NO_ID
    while batch := (yield Do(backends.ops.swept_artifacts, after=after, grace=grace)):
        for litter in batch:
            artifact = litter.artifact
            goes = not litter.shared if dry_run else (yield from _delete(storage, artifact))
            seen, deleted, size = seen + 1, deleted + goes, size + goes * artifact.bytes
        after = batch[-1].artifact.id
    return Sweep(rows=seen, objects=deleted, bytes=size, dry_run=dry_run)


def _delete(storage: Storage, artifact: Artifact) -> Verb[bool]:
    """Delete an object that only this row names; whether it was."""
    id = artifact.id
    if not (yield Do(backends.ops.take_swept, id)) or not (
        yield Do(backends.ops.is_still_swept, id)
    ):
        return False
    yield Aside(partial(storage.delete, artifact.key))
    yield Do(backends.ops.forget_artifact, id)
    return True
