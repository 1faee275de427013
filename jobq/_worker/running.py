"""One job in a worker's hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from jobq._outcome import Standing
from jobq._routing import Handler

if TYPE_CHECKING:
    from jobq.backends.ops.claim import Claimed

Stop = Literal["cancel", "timeout", "lease", "shutdown"]


class Running:
    """A claimed job and its handler's state; what stands behind a job context."""

    def __init__(
        self,
        job: Claimed,
        handler: Handler[Any, Any],
        *,
        state: Any,
        keep: int | None,
        dialect: Any,
        result_limit: int | None = None,
    ) -> None:
        self.job = job
        self.handler = handler
        self.state = state
        self.keep = keep
        self.dialect = dialect
        self.result_limit = result_limit
        self.task: asyncio.Task[None] | None = None
        self.started_at = time.monotonic()
        self.renewed_at = self.started_at
        """When the lease was last known to begin anew, by the monotonic clock."""
        self.stopping: Stop | None = None
        self.abandoned = False
        self.in_thread = False
        """Whether a thread is running the handler: it cannot be cancelled, only asked."""
        self.finishing = False
        """Whether the handler is done and only its outcome is still to be written."""
        self.committed: str | None = None
        self.progress = 0
        self.message: str | None = None
        self.on_report: Callable[[Running], None] | None = None
        self.on_stopped: Callable[[Running, asyncio.Task[None]], None] | None = None
        self.deadline: float | None = None
        """When the timeout, or then the patience with a handler that goes on, ends (loop time)."""

    @property
    def standing(self) -> Standing:
        return Standing(
            attempts=self.job.attempts,
            max_attempts=self.job.max_attempts,
            crash_count=self.job.crash_count,
        )

    @property
    def name(self) -> str:
        """The handler, for people."""
        function = self.handler.function
        where = getattr(function, "__qualname__", repr(function))
        return f"{self.job.type} ({getattr(function, '__module__', '?')}.{where})"

    def report(self, progress: int, message: str | None) -> None:
        """Note progress; it never falls within an attempt."""
        self.progress = max(self.progress, progress)
        self.message = message if message is not None else self.message
        if self.on_report is not None:
            self.on_report(self)

    def stop(self, reason: Stop) -> None:
        """Ask the handler to stop: an async one is cancelled, a thread has to look."""
        if self.finishing or self.stopping == "lease":
            return
        asked_before, self.stopping = self.stopping is not None, reason
        if self.task is None:
            return
        if not asked_before and self.on_stopped is not None:
            self.task.add_done_callback(partial(self.on_stopped, self))
        if not self.in_thread:
            self.task.cancel()
