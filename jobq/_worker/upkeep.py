"""What any worker does for all: rescue, expire, prune. No leader; every step is safe twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jobq import backends
from jobq._errors import JobqError
from jobq._outcome import Crashed, Released, Standing, Transition, decide
from jobq._retry import Retry
from jobq._worker.pace import Pace
from jobq._worker.tally import Tally
from jobq.backends._alarms import HELD_TOO_LONG
from jobq.observe import Observers, logger

_POLICY = Retry()
WARN_EVERY = 600.0


def after_crash(orphan: Any) -> Transition:
    """What becomes of a job whose worker stopped renewing its lease."""
    standing = Standing(
        attempts=orphan.attempts,
        max_attempts=orphan.max_attempts,
        crash_count=orphan.crash_count,
        on_ambiguous=orphan.on_ambiguous,
    )
    error = f"worker {orphan.worker} stopped renewing its lease during attempt {orphan.attempts}"
    return decide(Crashed(error), standing, _POLICY, 0.0)


def after_release(orphan: Any) -> Transition:
    """What becomes of a job that its worker never began."""
    standing = Standing(attempts=orphan.attempts, max_attempts=orphan.max_attempts)
    return decide(Released("the worker was shutting down"), standing, _POLICY, 0.0)


class Upkeep:
    """Looks every few seconds for ended leases and for jobs to fail or to delete by their time."""

    def __init__(
        self,
        store: backends.AsyncStore,
        *,
        lease: float,
        keep: int | None,
        observers: Observers,
        rescued: Callable[[set[str]], None],
        declare_limits: Callable[[], Awaitable[None]] | None = None,
        held_up: Callable[..., Awaitable[str | None]] | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._store = store
        self._pause = min(5.0, lease / 3)
        self._pace = Pace()
        self._keep = keep
        self._observers = observers
        self._rescued = rescued
        self._declare_limits = declare_limits
        self._held_up = held_up
        self._tally = tally if tally is not None else Tally()
        self._warned_at = float("-inf")

    async def run(self) -> None:
        """Go round until cancelled. The first round is at once: a worker starts after a crash."""
        rounds = 0
        while True:
            rest = self._pause
            try:
                rest = max(rest, await self._tidy())
                if rounds % 12 == 0:
                    await self._store.run(backends.ops.prune_limits)
                    await self._store.run(backends.ops.forget_worker)
                    await self.warn()
                    if rounds and self._declare_limits is not None:
                        await self._declare_limits()
            except JobqError as error:
                logger.warning("upkeep: %s", error)
            rounds += 1
            await asyncio.sleep(rest * random.uniform(0.75, 1.25))

    async def _tidy(self) -> float:
        """One look, and what it found to do: mostly nothing; how long to rest at least."""
        began = time.monotonic()
        overdue = await self._store.run(backends.ops.overdue)
        rest = self._pace.rest(time.monotonic() - began)
        if overdue.rescue:
            await self.rescue()
        if overdue.expire:
            await self.expire()
        if overdue.batches:
            await self.end_batches()
        if overdue.prune:
            await self._prune()
        if overdue.stats:
            await self._store.run(backends.ops.prune_stats)
        return rest

    async def share(self) -> None:
        """One round with an end that is known: for those who have no worker that goes on."""
        await self.rescue()
        await self.expire(once=True)
        await self.end_batches()
        await self._store.run(backends.ops.prune_limits)
        await self._store.run(backends.ops.prune_stats)
        await self._store.run(backends.ops.forget_worker)
        await self._prune(once=True)

    async def rescue(self) -> int:
        """Take jobs from workers whose lease has ended; how many."""
        rescued = await self._store.run(backends.ops.rescue, after_crash, keep=self._keep)
        for orphan, status in rescued:
            logger.warning(
                "rescued job %s (%s) from worker %s: now %s",
                orphan.id,
                orphan.type,
                orphan.worker,
                status,
                extra={"job_id": orphan.id, "job_type": orphan.type},
            )
        if rescued:
            self._observers.jobs_changed("rescue", [orphan.id for orphan, _ in rescued])
            self._rescued(set())
        self._tally.count((one.queue, one.type, status, "crashed", 0.0) for one, status in rescued)
        return len(rescued)

    async def expire(self, *, once: bool = False) -> None:
        """Fail jobs that were not started before their `expires_at`: all, or one batch."""
        while ids := await self._store.run(backends.ops.expire, keep=self._keep):
            self._observers.jobs_changed("expire", ids)
            if once:
                return

    async def end_batches(self) -> None:
        """Enqueue what follows batches that ended without anybody noticing."""
        follow = await self._store.run(backends.ops.end_batches, None, keep=self._keep)
        for job in follow:
            self._observers.job_enqueued(job)
        if follow:
            self._rescued({job.queue for job in follow})

    async def warn(self) -> None:
        """Say what keeps the database from clearing up; not again for ten minutes."""
        if self._held_up is None or time.monotonic() < self._warned_at + WARN_EVERY:
            return
        reason = await self._held_up(self._store, seconds=HELD_TOO_LONG)
        if reason is not None:
            self._warned_at = time.monotonic()
            logger.warning("%s", reason)

    async def _prune(self, *, once: bool = False) -> None:
        while ids := await self._store.run(backends.ops.prune):
            self._observers.jobs_changed("prune", ids)
            if once:
                return
            await asyncio.sleep(0.05)
