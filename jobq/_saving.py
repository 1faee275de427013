"""How a handler saves an artifact, written once for both kinds of handlers.

First a row that says what is about to be uploaded, fenced; then the upload; the row becomes
`stored` along with the outcome of the step or the job. What is cut off in between leaves a row
that a sweep finds.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import AsyncIterable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from attrs import evolve

from jobq import _steps, backends
from jobq._errors import LeaseLost
from jobq._model import new_id
from jobq._steps import Aside, Do

if TYPE_CHECKING:
    from anyio import CapacityLimiter

    from jobq.artifacts import Artifact, Storage
    from jobq.artifacts._content import Content, Spool

THREADS = 8
"""How many uploads of `async def` handlers a worker does at a time."""
SMALL = 256 * 1024
"""Bytes that are not worth a thread."""
RESULT = "/result"
"""The place of a step's own result, where that is too large for its row."""
_step: ContextVar[str] = ContextVar("jobq_step", default="")


@contextmanager
def within(step: str) -> Iterator[None]:
    """What is saved in this block belongs to a step."""
    token = _step.set(step)
    try:
        yield
    finally:
        _step.reset(token)


class Uploads:
    """What an attempt has uploaded, by the step that it did it in; none is ""."""

    def __init__(self) -> None:
        self._nameless: Counter[str] = Counter()
        self._done: dict[tuple[str, str], str] = {}

    def slot(self, step: str, name: str | None) -> str:
        """Where something stands in its step: under its name, or as the first, the second."""
        if name is not None:
            return name
        self._nameless[step] += 1
        return f"/{self._nameless[step]}"  # which is nobody's name

    def add(self, artifact: Artifact) -> None:
        """It is uploaded; of several in one place the last one counts."""
        self._done[artifact.step, artifact.slot] = artifact.id

    def of(self, step: str = "") -> tuple[str, ...]:
        """The ids of what was uploaded in a step: what `store_artifacts` is to be given."""
        return tuple(id for (where, _), id in self._done.items() if where == step)


class Saver(Protocol):
    """What an attempt has for saving."""

    job: Any
    """The claimed job's facts."""

    @property
    def place(self) -> Any:
        """Where an `async def` handler's ops are run."""

    @property
    def thread_place(self) -> Any:
        """Where a `def` handler's are."""

    @property
    def storage(self) -> Storage:
        """Where artifacts are kept."""

    @property
    def uploads(self) -> Uploads:
        """What this attempt has uploaded."""

    @property
    def upload_threads(self) -> CapacityLimiter | None:
        """How many uploads there may be at a time."""


class _Read:
    """Take all the data."""

    def __init__(self, spool: Spool, data: Any, threads: CapacityLimiter | None) -> None:
        self.spool, self.data, self.threads = spool, data, threads

    def do(self, place: Any) -> None:  # noqa: ARG002  a step's arguments
        from jobq.artifacts._content import take

        take(self.spool, self.data)

    async def ado(self, place: Any) -> None:
        data = self.data
        if isinstance(data, bytes | bytearray) and len(data) < SMALL:
            self.spool.add(data)
        elif isinstance(data, AsyncIterable):
            await self._take_iterator(data)
        elif inspect.iscoroutinefunction(getattr(data, "read", None)):
            while chunk := await data.read(SMALL):
                await self._take([chunk])
        else:
            await Aside(partial(self.do, place), self.threads).ado(place)

    async def _take_iterator(self, data: AsyncIterable[Any]) -> None:
        """Chunks as they come, which may be very small ones."""
        some: list[Any] = []
        size = 0
        async for chunk in data:
            some.append(chunk)
            size += len(chunk) if hasattr(chunk, "__len__") else SMALL
            if size >= SMALL:
                await self._take(some)
                some, size = [], 0
        self.spool.add_all(some)

    async def _take(self, chunks: list[Any]) -> None:
        await Aside(partial(self.spool.add_all, chunks), self.threads).ado(None)


def save(saver: Saver, data: Any, content_type: Any, name: Any) -> Artifact:
    """Save data in the thread of a `def` handler."""
    from jobq.artifacts._content import spooled

    with spooled() as spool:
        verb = _saving(saver, spool, data, content_type, name)
        return _steps.run(verb, saver.thread_place)


async def save_async(saver: Saver, data: Any, content_type: Any, name: Any) -> Artifact:
    """Save data from an `async def` handler."""
    from jobq.artifacts._content import spooled

    with spooled() as spool:
        verb = _saving(saver, spool, data, content_type, name)
        return await _steps.run_async(verb, saver.place)


def keep(saver: Saver, data: bytes, *, step: str) -> Generator[Any, Any, Artifact]:
    """Save the result of a step."""
    from jobq.artifacts._content import spooled

    with spooled() as spool:
        spool.add(data)
        facts = _facts(spool.content(), "application/json", "result.json")
        return (yield from _stored(saver, spool, {"step": step, "slot": RESULT, **facts}))


def _saving(
    saver: Saver, spool: Spool, data: Any, said: Any, name: Any
) -> Generator[Any, Any, Artifact]:
    from jobq.artifacts._keys import checked_name, checked_type, extension_of

    label, said, step = checked_name(name), checked_type(said), _step.get()
    slot = saver.uploads.slot(step, label)
    yield _Read(spool, data, saver.upload_threads)
    facts = _facts(spool.content(), said, label)
    facts["name"] = label or f"{slot[1:]}.{extension_of(facts['content_type'])}"
    return (yield from _stored(saver, spool, {"step": step, "slot": slot, **facts}))


def _facts(content: Content, said: str | None, name: str | None) -> dict[str, Any]:
    """The columns of an artifact that say what it is."""
    from jobq.artifacts._keys import type_of

    return {
        "artifact": new_id(),
        "name": name,
        "sha256": content.sha256,
        "bytes": content.size,
        "content_type": type_of(content.head, said, name),
    }


def _stored(saver: Saver, spool: Spool, facts: dict[str, Any]) -> Generator[Any, Any, Artifact]:
    """Write it down, and upload it."""
    from jobq.artifacts._artifact import reference

    threads = saver.upload_threads
    storage: Storage = yield Aside(lambda: saver.storage, threads)
    row = {"id": str(saver.job.id), "fence": saver.job.fence, **facts}
    row["key"] = _key(storage.prefix, facts)
    other = new_id()
    apart = {"artifact": other, "key": _key(storage.prefix, facts, apart=other)}
    artifact: Artifact | None = yield Do(backends.ops.begin_artifact, row=row, apart=apart)
    if artifact is None:
        raise LeaseLost(row["id"])
    content, kind = spool.content(), artifact.content_type
    put = partial(storage.put, artifact.key, content.file, size=content.size, content_type=kind)
    yield Aside(put, threads)
    saver.uploads.add(artifact)
    return evolve(artifact, url=storage.public_url(artifact.key) or reference(artifact.id))


def _key(prefix: str, facts: dict[str, Any], *, apart: str | None = None) -> str:
    from jobq.artifacts._keys import key_of

    return key_of(prefix, facts["sha256"], facts["content_type"], apart=apart)
