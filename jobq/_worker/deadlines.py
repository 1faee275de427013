"""When running jobs reach their timeouts: one timer for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from jobq._worker.running import Running


class Deadlines:
    """Calls `reached` with each running job whose `deadline` (by the loop's clock) has come.

    Jobs come and go thousands of times a second and few ever meet their deadline, so there is
    one timer, at the earliest deadline seen, which looks again when it fires.
    """

    def __init__(
        self, running: Callable[[], Iterable[Running]], reached: Callable[[Running], None]
    ) -> None:
        self._running = running
        self._reached = reached
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, deadline: float) -> None:
        """See that a deadline is not missed."""
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for running in list(self._running()):
            if running.deadline is not None and running.deadline <= now:
                running.deadline = None
                self._reached(running)
        deadlines = [r.deadline for r in self._running() if r.deadline is not None]
        if deadlines:
            self.watch(min(deadlines))

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
