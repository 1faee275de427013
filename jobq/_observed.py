"""What observers are told before and after: of jobs to be stored, and of calls of the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from attrs import evolve

from jobq._payload import dumps, loads
from jobq.observe import Enqueuing, Observers, logger


class _Watching:
    def __init__(self, store: Any, observers: Observers) -> None:
        self._store = store
        self._observers = observers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @contextmanager
    def _watch(self, op: Callable[..., Any]) -> Iterator[None]:
        started = time.perf_counter()
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            seconds = time.perf_counter() - started
            self._observers.database_called(op.__name__, seconds, error)


class Observed(_Watching):
    """A synchronous store that is watched."""

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._watch(op):
            return self._store.run(op, *args, **kwargs)


class AsyncObserved(_Watching):
    """An asynchronous store that is watched."""

    async def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._watch(op):
            return await self._store.run(op, *args, **kwargs)


def enqueuing(
    observers: Observers, rows: Sequence[Any], largest: int
) -> AbstractContextManager[Sequence[Enqueuing]]:
    """Around the storing of rows: observers may have jobs carry something along.

    It goes into the metadata, unless that would take more than `largest` bytes then.
    """
    if observers and observers.have("enqueuing"):
        return _carrying(observers, rows, largest)
    return nullcontext(())


@contextmanager
def _carrying(observers: Observers, rows: Sequence[Any], largest: int) -> Iterator[list[Enqueuing]]:
    about = [Enqueuing(id=row.id, type=row.terms.type, queue=row.terms.queue) for row in rows]
    with observers.around("enqueuing", about):
        for row, job in zip(rows, about, strict=True):
            if job.carries:
                metadata = _joined(row.terms.metadata, job, largest)
                row.terms = evolve(row.terms, metadata=metadata)
        yield about


def _joined(metadata: str | None, job: Enqueuing, largest: int) -> str | None:
    own = {} if metadata is None else loads(metadata)
    text = dumps({**job.carries, **own})
    if len(text.encode()) <= largest:
        return text
    logger.warning("job %s has too much metadata to carry a trace along", job.id)
    return metadata
