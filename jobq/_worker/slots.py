"""A worker's slots: the jobs that it holds, from their claim until their outcome is durable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from anyio import CapacityLimiter

from jobq._config import Config
from jobq._outcome import Outcome, Refused, Stopped
from jobq._worker.corrections import Corrections
from jobq._worker.deadlines import Deadlines
from jobq._worker.execute import attempt, given_back, timed_out
from jobq._worker.finisher import Finisher
from jobq._worker.running import Host, Running, Start, Stop
from jobq.observe import logger

LINGER = 1.0
"""Seconds that cancelled handlers get to clean up when the worker shuts down."""
FLUSH = 5.0
"""Seconds that the last outcomes get to be written."""


class Slots:
    """Runs claimed jobs, at most `count` at a time.

    `finisher` is given what comes of them; `freed` is called when slots may be free, `stuck` when
    every slot is taken by a handler that ignores its cancellation.
    """

    def __init__(
        self,
        config: Config,
        *,
        worker: str,
        state: Any,
        dialect: Any,
        count: int,
        threads: int,
        margin: float,
        report: Callable[[Running], None],
        is_closed: Callable[[Iterable[str]], bool],
        corrections: Corrections,
        freed: Callable[[], None],
        stuck: Callable[[list[str]], None],
    ) -> None:
        self._config = config
        self._worker = worker
        self._count = count
        self._margin = margin
        self._host = Host(
            worker=worker,
            state=state,
            keep=config.keep,
            dialect=dialect,
            result_limit=config.bounds.result,
            is_closed=is_closed,
            reported=report,
            stopped=self._stopped,
            corrections=corrections,
        )
        self._on_freed = freed
        self._on_stuck = stuck
        self._loop = asyncio.get_running_loop()
        self._in_thread = partial(config.in_thread, threads=CapacityLimiter(threads))
        self._changed = asyncio.Event()
        self._deadlines = Deadlines(lambda: self.held, self._deadline_reached)
        self.finisher: Finisher
        self.held: set[Running] = set()
        self.abandoned: set[Running] = set()
        """Those whose handler goes on although its job was taken from it."""
        self.started = 0

    @property
    def free(self) -> int:
        return self._count - len(self.held) - len(self.abandoned)

    @property
    def hanging(self) -> list[str]:
        """The handlers that ignored their cancellation and still run."""
        return sorted({running.name for running in self.abandoned})

    def leased(self) -> list[Running]:
        """The jobs whose leases are to be renewed. Any thread may ask."""
        held = list(self.held)  # at one stroke: the loop adds and removes meanwhile
        return [running for running in held if running.stopping != "lease"]

    @property
    def waiting(self) -> int:
        """How many held jobs were granted a start that is still to come."""
        return sum(running.waits for running in self.held)

    def start(self, claimed: Sequence[Any], starts: Mapping[str, Start] | None = None) -> None:
        """Run claimed jobs; those with limits when these allow it."""
        observers = self._config.observers
        for job in claimed:
            running = self._take(job, None if starts is None else starts[job.id])
            if observers:
                observers.job_claimed(job.id, job.type, job.attempts, self._worker)
            if job.expires_at is not None and job.expires_at <= job.started_at:
                reason = "it was not started before its expires_at"
                self.finisher.add(running, Refused("expired", reason, started=False))
                continue
            if job.cancel_requested:
                self.finisher.add(running, Stopped("cancelled before it began"))
                continue
            running.task = self._loop.create_task(self._execute(running))
            if job.timeout_ms:
                running.deadline = self._loop.time() + job.timeout_ms / 1000
                self._deadlines.watch(running.deadline)

    def _take(self, job: Any, start: Start | None) -> Running:
        handler = self._config.router.get(job.type)
        assert handler is not None
        running = Running(job, handler, self._host, start)
        self.held.add(running)
        self.started += 1
        return running

    async def _execute(self, running: Running) -> None:
        job = running.job
        if running.start is not None:
            await running.wait_for_start()
        if self._config.observers:
            self._config.observers.job_started(job.id, job.type, job.attempts)
        outcome = await attempt(
            running,
            self._config.router.chain(running.handler),
            in_thread=self._in_thread,
            bounds=self._config.bounds,
        )
        self._deliver(running, outcome)

    def _deliver(self, running: Running, outcome: Outcome | None) -> None:
        if running.finishing:
            return  # its outcome was written without it
        if outcome is not None:
            self.finisher.add(running, outcome)
            return
        running.finishing = True
        job = running.job
        logger.warning("job %s was lost to another claim; its outcome is dropped", job.id)
        self._config.observers.lease_lost(job.id, job.type)
        self.freed([running])

    def _stopped(self, running: Running, _: asyncio.Task[None]) -> None:
        """The task of a handler that was asked to stop has ended."""
        if running in self.abandoned:
            self.abandoned.discard(running)
            self._on_freed()
        if not running.finishing:
            self._deliver(running, self._unstarted(running))

    def _unstarted(self, running: Running) -> Outcome | None:
        """What becomes of a job whose task was cancelled before its first step."""
        match running.stopping:
            case "lease":
                return None
            case "cancel":
                return Stopped("cancelled before it began")
            case "timeout":
                return timed_out(running, self._config.bounds)
            case _:
                return given_back(running)

    def _deadline_reached(self, running: Running) -> None:
        """Ask the handler to stop; the second time, give its slot up."""
        if running.finishing:
            return
        if running.stopping == "timeout":
            self._abandon(running)
            return
        running.stop("timeout")
        running.deadline = self._loop.time() + self._margin / 2
        self._deadlines.watch(running.deadline)

    def _abandon(self, running: Running) -> None:
        logger.error("%s ignores its cancellation: its slot is lost until it ends", running.name)
        self.abandoned.add(running)
        self.finisher.add(running, timed_out(running, self._config.bounds))
        if len(self.abandoned) >= self._count:
            self._on_stuck(self.hanging)

    def lost(self, running: Running) -> None:
        """The lease could not be kept: the handler must stop, and its outcome is not ours."""
        if running.committed is not None:
            return  # it completed its job itself, which needs no lease any more
        if not running.finishing:
            logger.warning("lost the lease of job %s (%s)", running.job.id, running.job.type)
        running.stop("lease")

    def freed(self, ended: Sequence[Running]) -> None:
        """The outcomes of these are durable, or refused."""
        self.held.difference_update(ended)
        self._on_freed()
        if not self.held:
            self._changed.set()

    def hurry(self) -> None:
        """The patience of `close` has changed."""
        self._changed.set()

    async def close(self, grace: Callable[[], float], reason: Stop = "shutdown") -> None:
        """Give running jobs their grace, then cancel them, and give back what is left."""
        for running in [running for running in self.held if running.waits]:
            running.stop("shutdown")
        await self.until_idle(grace)
        left = [running for running in self.held if not running.finishing]
        if left:
            logger.warning("giving %d unfinished jobs back", len(left))
        for running in left:
            running.stop(reason)
        await self.until_idle(lambda: LINGER)
        for running in [running for running in self.held if not running.finishing]:
            logger.warning("%s does not stop; its job is given back", running.name)
            self.abandoned.add(running)
            self.finisher.add(running, given_back(running))
        await self.until_idle(lambda: FLUSH)
        self._deadlines.close()

    async def until_idle(self, patience: Callable[[], float]) -> None:
        """Wait until nothing is held, or patience has run out (a signal may shorten it)."""
        started = time.monotonic()
        while self.held or not self.finisher.idle:
            left = started + patience() - time.monotonic()
            if left <= 0:
                return
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, 0.5)):
                    await self._changed.wait()
