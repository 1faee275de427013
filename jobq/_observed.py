"""Stores that tell observers about each call of the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jobq.observe import Observers


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
