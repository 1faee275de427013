"""A worker that has so many seconds and no more: it gives back what it cannot finish."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jobq import backends
from jobq._worker.claimer import Claimer
from jobq._worker.slots import Slots
from jobq._worker.worker import BURST_WINDOW, Worker

ALWAYS = 0.1
"""The part of the time, at its beginning, in which jobs of any length are started."""
CUSHION = 2.0
"""Seconds that a job should be expected to end before its time is up."""


def expected_seconds(durations: Sequence[float]) -> float:
    """How long a job of a type will take, as nineteen of twenty did."""
    ordered = sorted(durations)
    return ordered[(len(ordered) * 19) // 20] if ordered else 0.0


def last_starts(durations: Mapping[str, Sequence[float]], seconds: float) -> dict[str, float]:
    """Until when jobs of each type are started, in seconds from the beginning."""
    return {
        type: max(seconds * ALWAYS, seconds - expected_seconds(some) - CUSHION)
        for type, some in durations.items()
    }


class BoundedWorker(Worker):
    """Runs jobs until none is due, or its time is up; for cron jobs and functions.

    Jobs that would not end in time, as far as is known from others of their type, are not started.
    Leases end `beyond` seconds after the time at the latest, so that the jobs of a process that
    was killed are back soon.
    """

    def __init__(self, queue: Any, *, seconds: float, beyond: float = 10.0, **options: Any) -> None:
        super().__init__(queue, ahead=0, **options)
        self._ends_at = time.monotonic() + seconds
        self._beyond = beyond
        self._timers: list[asyncio.TimerHandle] = []
        self.out_of_time = False
        """Whether jobs were left because too little time was left."""

    async def work(self, max_jobs: int | None) -> int:
        """Run jobs; how many were begun."""
        return await self._run(BURST_WINDOW, max_jobs, None)

    def _lasting(self) -> float:
        left = self._ends_at + self._beyond - time.monotonic()
        return max(1.0, min(self._lease, left))

    async def _claim_until_done(
        self, slots: Slots, claimer: Claimer, max_seconds: float | None
    ) -> None:
        await self._set_timers(claimer)
        try:
            await super()._claim_until_done(slots, claimer, max_seconds)
        finally:
            for timer in self._timers:
                timer.cancel()

    async def _set_timers(self, claimer: Claimer) -> None:
        left = max(0.0, self._ends_at - time.monotonic())
        durations = await self._store.run(backends.ops.durations)
        known = {type: some for type, some in durations.items() if type in self._router.types}
        for type, last in last_starts(known, left).items():
            self._timers.append(self._loop.call_later(last, self._leave_out, type))
        self._timers.append(self._loop.call_later(left, self._time_is_up, claimer))

    def _leave_out(self, type: str) -> None:
        self.out_of_time = True
        self._lanes.leave_out([type])

    def _time_is_up(self, claimer: Claimer) -> None:
        self.out_of_time = True
        claimer.stop()

    async def _close(self, slots: Slots) -> None:
        def left() -> float:
            return 0.0 if self._at_once else max(0.0, self._ends_at - time.monotonic())

        await slots.until_idle(left)  # also for those whose start is still to come
        await slots.close(left, "shutdown" if self._at_once else "budget")
