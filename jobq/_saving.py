"""How a handler saves an artifact, written once for both kinds of handlers.

First a row that says what is about to be uploaded, fenced; then the upload; the row becomes
`stored` along with the outcome of the step or the job. What is cut off in between leaves a row
that a sweep finds.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Generator
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import evolve

from jobq import _steps, backends
from jobq._errors import LeaseLost
from jobq._model import new_id

if TYPE_CHECKING:
    from anyio import CapacityLimiter

    from jobq.artifacts import Artifact, Storage
    from jobq.artifacts._content import Content, Spool

T = TypeVar("T")

THREADS = 8
"""How many uploads of `async def` handlers a worker does at a time."""
SMALL = 256 * 1024
"""Bytes that are not worth a thread."""
current_step: ContextVar[str] = ContextVar("jobq_step", default="")
"""The name of the step that is being run, if it is one."""


class Uploads:
    """What an attempt has uploaded, by the step that it did it in; none is "" ."""

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
    def run(self) -> Callable[..., Awaitable[Any]]:
        """Runs an op, in a transaction of its own, on the worker's event loop."""

    def run_here(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The same, for a thread."""

    @property
    def storage(self) -> Storage:
        """Where artifacts are kept."""

    @property
    def uploads(self) -> Uploads:
        """What this attempt has uploaded."""

    @property
    def upload_threads(self) -> CapacityLimiter | None:
        """How many uploads there may be at a time."""


class _Aside:
    """Something that may block."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    def do(self, attempt: Saver) -> Any:  # noqa: ARG002  a step's arguments
        return self.call()

    async def ado(self, attempt: Saver) -> Any:
        return await _in_thread(attempt, self.call)


class _Ask:
    """An op."""

    def __init__(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.op, self.args, self.kwargs = op, args, kwargs

    def do(self, attempt: Saver) -> Any:
        return attempt.run_here(self.op, *self.args, **self.kwargs)

    async def ado(self, attempt: Saver) -> Any:
        return await attempt.run(self.op, *self.args, **self.kwargs)


class _Read:
    """Take all the data."""

    def __init__(self, spool: Spool, data: Any) -> None:
        self.spool, self.data = spool, data

    def do(self, attempt: Saver) -> None:  # noqa: ARG002  a step's arguments
        from jobq.artifacts._content import take

        take(self.spool, self.data)

    async def ado(self, attempt: Saver) -> None:
        data = self.data
        if isinstance(data, bytes | bytearray) and len(data) < SMALL:
            self.spool.add(data)
        elif isinstance(data, AsyncIterable):
            await self._take_iterator(attempt, data)
        elif inspect.iscoroutinefunction(getattr(data, "read", None)):
            while chunk := await data.read(SMALL):
                await _in_thread(attempt, partial(self.spool.add, chunk))
        else:
            await _in_thread(attempt, partial(self.do, attempt))

    async def _take_iterator(self, attempt: Saver, data: AsyncIterable[Any]) -> None:
        """Chunks as they come, which may be very small ones."""
        some: list[Any] = []
        size = 0
        async for chunk in data:
            some.append(chunk)
            size += len(chunk) if hasattr(chunk, "__len__") else SMALL
            if size >= SMALL:
                await _in_thread(attempt, partial(self.spool.add_all, some))
                some, size = [], 0
        self.spool.add_all(some)


async def _in_thread(attempt: Saver, call: Callable[[], T]) -> T:
    from anyio import to_thread

    return await to_thread.run_sync(call, limiter=attempt.upload_threads)


def save(attempt: Saver, data: Any, content_type: Any, name: Any) -> Artifact:
    """Save data in the thread of a `def` handler."""
    from jobq.artifacts._content import spooled

    with spooled() as spool:
        return _steps.run(_saving(attempt, spool, data, content_type, name), attempt)


async def save_async(attempt: Saver, data: Any, content_type: Any, name: Any) -> Artifact:
    """Save data from an `async def` handler."""
    from jobq.artifacts._content import spooled

    with spooled() as spool:
        return await _steps.run_async(_saving(attempt, spool, data, content_type, name), attempt)


def _saving(
    attempt: Saver, spool: Spool, data: Any, said: Any, name: Any
) -> Generator[Any, Any, Artifact]:
    from jobq.artifacts._artifact import reference
    from jobq.artifacts._keys import checked_name, checked_type

    label, said, step = checked_name(name), checked_type(said), current_step.get()
    place = {"step": step, "slot": attempt.uploads.slot(step, label)}
    storage: Storage = yield _Aside(lambda: attempt.storage)
    yield _Read(spool, data)
    content = spool.content()
    facts = _facts(content, said, label, place["slot"])
    claim = {"id": str(attempt.job.id), "fence": attempt.job.fence}
    row = {**claim, **place, **facts, "key": _key(storage.prefix, facts)}
    other = new_id()
    apart = {"artifact": other, "key": _key(storage.prefix, facts, apart=other)}
    artifact: Artifact | None = yield _Ask(backends.ops.begin_artifact, row, apart=apart)
    if artifact is None:
        raise LeaseLost(claim["id"])
    kind, key = artifact.content_type, artifact.key
    yield _Aside(partial(storage.put, key, content.file, size=content.size, content_type=kind))
    attempt.uploads.add(artifact)
    return evolve(artifact, url=storage.public_url(key) or reference(artifact.id))


def _facts(content: Content, said: str | None, name: str | None, slot: str) -> dict[str, Any]:
    """The columns of an artifact that say what it is."""
    from jobq.artifacts._keys import extension_of, type_of

    kind = type_of(content.head, said, name)
    return {
        "artifact": new_id(),
        "name": name or f"{slot[1:]}.{extension_of(kind)}",
        "sha256": content.sha256,
        "bytes": content.size,
        "content_type": kind,
    }


def _key(prefix: str, facts: dict[str, Any], *, apart: str | None = None) -> str:
    from jobq.artifacts._keys import key_of

    return key_of(prefix, facts["sha256"], facts["content_type"], apart=apart)
