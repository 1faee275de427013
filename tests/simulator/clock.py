"""Virtual time: one monotonic clock for all processes, and the database's, which may jump."""

from __future__ import annotations

import asyncio
import heapq
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from jobq._clock import SECOND
from jobq.observe import logger

BEGINNING = 1_924_992_000 * SECOND
"""2031-01-01T00:00:00Z."""


CLOSE = 1e-7
"""Seconds within which a timer is due: less than a microsecond, more than floats are off by."""


class Time:
    """Microseconds since the beginning, and how far the database's clock is off."""

    def __init__(self) -> None:
        self.elapsed = 0
        self.offset = 0

    def monotonic(self) -> float:
        return self.elapsed / SECOND

    @property
    def database(self) -> int:
        """What the database's clock says."""
        return BEGINNING + self.elapsed + self.offset


class DatabaseClock:
    """A `jobq.Clock` that stands in for the database's."""

    frozen = True

    def __init__(self, time: Time) -> None:
        self._time = time

    def now(self) -> int:
        return self._time.database


class WorkerClock(DatabaseClock):
    """The same for the configuration of a worker, which then looks ahead as in real time."""

    frozen = False


class _NoSockets:
    """Instead of a selector: nothing ever comes from outside, and nobody waits."""

    def select(self, timeout: float | None) -> list[Any]:
        return []


class Loop(asyncio.BaseEventLoop):
    """An event loop that runs what is ready, by virtual time, and returns."""

    _scheduled: list[Any]
    _ready: Any
    _timer_cancelled_count: int
    _run_once: Callable[[], None]

    def __init__(self, time: Time, process: Any) -> None:
        super().__init__()
        self.process = process
        self._virtual = time
        self._selector = _NoSockets()
        self._clock_resolution = CLOSE

    def time(self) -> float:
        return self._virtual.monotonic()

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Nothing that a simulated process gives to a thread takes time."""
        future = self.create_future()
        future.set_result(func(*args))
        return future

    def next_timer(self) -> float | None:
        """When something is to happen by itself."""
        timers = self._scheduled
        while timers and timers[0].cancelled():
            self._timer_cancelled_count -= 1
            heapq.heappop(timers)._scheduled = False
        return timers[0].when() if timers else None

    def settle(self) -> None:
        """Run callbacks until all tasks wait for an answer, a handler or a later time."""
        if not self._has_work():
            return
        asyncio._set_running_loop(self)
        try:
            while self._has_work():
                self._run_once()
        finally:
            asyncio._set_running_loop(None)

    def _has_work(self) -> bool:
        due = self.next_timer()
        return bool(self._ready) or (due is not None and due < self.time() + CLOSE)


_TIMED = ("jobq._worker.", "jobq.backends.ops.", "jobq.backends.postgres.connections")


@contextmanager
def virtual(time: Time) -> Iterator[None]:
    """Let jobq's modules read this clock; its log would tell of every fault."""
    clock = SimpleNamespace(monotonic=time.monotonic)
    found = [
        module
        for name, module in sys.modules.items()
        if name.startswith(_TIMED) and "time" in vars(module)
    ]
    before = [vars(module)["time"] for module in found]
    was_disabled, logger.disabled = logger.disabled, True
    try:
        for module in found:
            vars(module)["time"] = clock
        yield
    finally:
        for module, value in zip(found, before, strict=True):
            vars(module)["time"] = value
        logger.disabled = was_disabled
