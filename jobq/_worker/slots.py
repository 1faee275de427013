"""A worker's slots: the jobs that it holds, from their claim until their outcome is durable.

A slot is taken while a handler runs. Jobs that were claimed ahead of the slots wait in line.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from anyio import CapacityLimiter

from jobq._config import Config
from jobq._outcome import Outcome, Refused, Released, Stopped
from jobq._saving import THREADS as UPLOADS
from jobq._worker.ahead import PATIENCE, Ahead
from jobq._worker.calls import Call, attempt_together, batches
from jobq._worker.corrections import Corrections
from jobq._worker.deadlines import Deadlines
from jobq._worker.execute import attempt, ended, given_back, halts, timed_out
from jobq._worker.finisher import Finisher
from jobq._worker.recorder import Recorder
from jobq._worker.running import Host, Running, Start, Stop
from jobq._worker.watched import attempting, tell_started
from jobq.observe import logger

FEW = 25
"""Slots that are not worth a claim of their own."""
SINGLY = 5.0
"""Seconds in which jobs are claimed one at a time, after one came that may crash its process."""
LINGER = 1.0
"""Seconds that cancelled handlers get to clean up when the worker shuts down."""
FLUSH = 5.0
"""Seconds that the last outcomes get to be written."""


def _started(
    work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
) -> asyncio.Task[None]:
    """A task that has taken its first step already, where Python can do that."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)


class Slots:
    """Runs claimed jobs, at most `count` at a time.

    `finisher` is given what comes of them; `freed` is called when slots may be free, `spared` for
    each job that goes back without having run, `stuck` when every slot is taken by a handler that
    ignores its cancellation.
    """

    def __init__(
        self,
        config: Config,
        *,
        worker: str,
        state: Any,
        dialect: Any,
        count: int,
        ahead: int,
        lease: float,
        threads: int,
        margin: float,
        report: Callable[[Running], None],
        is_closed: Callable[[Iterable[str]], bool],
        corrections: Corrections,
        recorder: Recorder,
        leaving: Callable[[], str | None],
        freed: Callable[[], None],
        spared: Callable[[], None],
        stuck: Callable[[list[str]], None],
    ) -> None:
        self._config = config
        self._worker = worker
        self._count = count
        self._margin = margin
        self._host = Host(
            worker=worker,
            state=state,
            lease=lease,
            keep=config.keep,
            dialect=dialect,
            result_limit=config.bounds.result,
            partial_limit=config.bounds.partial,
            is_closed=is_closed,
            reported=report,
            stopped=self._stopped,
            corrections=corrections,
            recorder=recorder,
            step_limit=config.bounds.step,
            leaving=leaving,
            lost=self.lost,
            budget=config.budget,
            from_thread=partial(config.from_thread, loop=asyncio.get_running_loop()),
            storage=lambda: config.storage,
            upload_threads=CapacityLimiter(UPLOADS),
        )
        self._on_freed = freed
        self._on_spared = spared
        self._on_stuck = stuck
        self._loop = asyncio.get_running_loop()
        self._in_thread = partial(config.in_thread, threads=CapacityLimiter(threads))
        self._around = partial(attempting, config.observers)
        self._changed = asyncio.Event()
        self._deadlines = Deadlines(lambda: self.held, self._deadline_reached)
        self._ahead = Ahead(ahead)
        self._line: deque[Running] = deque()
        """Claimed jobs that wait for a slot, the most urgent first."""
        self._calls: dict[Call, int] = {}
        """How many jobs are held of each call of a batch handler."""
        self._executing = 0
        self._beginning = False
        self._patience: asyncio.TimerHandle | None = None
        self._singly_until = 0.0
        self.finisher: Finisher
        self.held: set[Running] = set()
        self.abandoned: set[Running] = set()
        """Those whose handler goes on although its job was taken from it."""
        self.started = 0

    @property
    def singly(self) -> bool:
        """Whether jobs are to be claimed one at a time: what comes next may crash this process."""
        return time.monotonic() < self._singly_until

    @property
    def _unwritten(self) -> bool:
        """Whether jobs have ended whose outcomes would be lost if this process died."""
        return any(running.finishing for running in self.held)

    @property
    def free(self) -> int:
        if self.singly and self._unwritten:
            return 0
        called = sum(self._calls.values())
        taken = len(self.held) - called + len(self._calls)  # a call takes one
        return self._count - taken - self._given_up

    @property
    def _given_up(self) -> int:
        """How many slots are taken by handlers that go on without their jobs."""
        return len({job.call or job for job in self.abandoned})

    def room(self, freed: int = 0) -> int:
        """How many jobs without limits one claim may take, once `freed` more slots are free.

        Slow ones for half of all slots: those of one claim often end at the same time, and while
        the database sees to them the other half runs on.
        """
        if 2 * len(self._line) > self._ahead.size:
            return 0  # few at a time would cost as much as many
        free = self.free + freed
        if self.singly:
            return free
        if self._ahead.are_slow:
            free = min(free, max(FEW, self._count // 2))
        return free + self._ahead.size

    @property
    def holds_ahead(self) -> bool:
        """Whether jobs may be held ahead of the slots."""
        return self._ahead.size > 0

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

    def start(
        self,
        claimed: Sequence[Any],
        starts: Mapping[str, Start] | None = None,
        *,
        asked_at: float,
    ) -> bool:
        """Run jobs whose claim was asked for then; those with limits when these allow it.

        Returns whether some may have gone back instead.
        """
        observers = self._config.observers
        alone = starts is not None or (len(claimed) == 1 and not self._unwritten)
        plain: list[Running] = []
        together: dict[str, list[Running]] = {}
        for job in claimed:
            running = self._take(job, None if starts is None else starts[job.id], asked_at)
            if observers:
                observers.job_claimed(job.id, job.type, job.attempts, self._worker)
            marked = job.crash_count or job.expires_at is not None or job.cancel_requested
            if marked and self._turns_away(running, alone):
                continue
            if running.handler.batch:
                together.setdefault(job.type, []).append(running)
            elif running.start is not None:
                self._begin(running)
            else:
                plain.append(running)
        for some in together.values():
            for members in batches(some, some[0].handler.batch or 1):
                self._begin_call(Call(members))
        self._stand_in_line(plain)
        self._begin_next()
        return self.singly and not alone

    def _turns_away(self, running: Running, alone: bool) -> bool:
        """Whether a job is not to begin.

        One whose last attempt ended with its process may have been the reason. It begins only
        where it was claimed alone: what is claimed with it would die with it again, and fail
        without having begun. From then on jobs are claimed one at a time for a while.
        """
        job = running.job
        if job.crash_count and job.ambiguous:
            self._singly_until = time.monotonic() + SINGLY
            if not alone:
                self._deliver(running, Released("it may have crashed a worker", waited=True))
                return True
        if job.expires_at is not None and job.expires_at <= job.started_at:
            reason = "it was not started before its expires_at"
            self.finisher.add(running, Refused("expired", reason, started=False))
            return True
        if job.cancel_requested and running.handler.batch:
            self.finisher.add(running, Stopped("cancelled before it began"))
            return True
        return False

    def _stand_in_line(self, some: Sequence[Running]) -> None:
        """The most urgent first, as a claim brings them, and before whom they overtake."""
        line = self._line
        overtakes = line and some and line[-1].job.priority < some[0].job.priority
        line.extend(some)
        if overtakes:
            self._line = deque(sorted(line, key=lambda one: -one.job.priority))

    def _begin_next(self) -> None:
        if self._beginning:
            return  # a handler has ended at its first step: the loop below goes on
        self._beginning = True
        try:
            while self._line and self._executing < self._count:
                self._begin(self._line[0])
                self._line.popleft()  # now that nothing has kept it from beginning
        finally:
            self._beginning = False
            if self._line and self._patience is None:
                self._patience = self._loop.call_later(PATIENCE, self._give_back_late)

    def _end_one(self) -> None:
        """A slot is free: for the next in line, unless the worker is about to end."""
        self._executing -= 1
        if not self._host.leaving():
            self._begin_next()

    def _give_back_late(self) -> None:
        """Jobs that no slot came free for in time are for other workers."""
        self._patience = None
        now = time.monotonic()
        if any(now - running.started_at >= PATIENCE for running in self._line):
            self._ahead.failed(now)
            self._give_back_line("no slot came free in time")
        self._begin_next()

    def _give_back_line(self, reason: str) -> None:
        for running in self._line:
            self._deliver(running, Released(reason, waited=True))
        self._line.clear()

    def _begin(self, running: Running) -> None:
        if running.stopping is not None:
            self._deliver(running, self._unstarted(running))
            return
        self._executing += 1
        try:
            running.task = _started(self._execute(running), self._loop)
        except BaseException:
            self._executing -= 1
            raise
        if not running.finishing:
            self._watch_deadline(running)

    def _begin_call(self, call: Call) -> None:
        self._executing += 1
        self._calls[call] = len(call.members)
        task = self._loop.create_task(self._execute_call(call))
        for running in call.members:
            running.task = task
            self._watch_deadline(running)

    def _watch_deadline(self, running: Running) -> None:
        if running.job.timeout_ms:
            running.deadline = self._loop.time() + running.job.timeout_ms / 1000
            self._deadlines.watch(running.deadline)

    def _take(self, job: Any, start: Start | None, asked_at: float) -> Running:
        handler = self._config.router.get(job.type)
        assert handler is not None
        running = Running(job, handler, self._host, start, claimed_at=asked_at)
        self.held.add(running)
        self.started += 1
        return running

    async def _execute_call(self, call: Call) -> None:
        try:
            for running in call.members:
                running.begun = True
            for running in call.members:
                await running.wait_for_start()
                tell_started(self._config.observers, running)
            bounds = self._config.bounds
            outcomes = await attempt_together(
                call,
                in_thread=self._in_thread,
                in_loop=self._config.in_loop,
                bounds=bounds,
                around=self._around,
            )
            for running, outcome in outcomes.items():
                self._deliver(running, outcome)
        except Exception as error:  # noqa: BLE001  whatever it was
            for running in call.members:
                self._unrunnable(running, error)
        finally:
            self._end_one()

    async def _execute(self, running: Running) -> None:
        running.begun = True
        began = time.monotonic()
        try:
            if running.start is not None:
                await running.wait_for_start()
                began = time.monotonic()
            if running.job.cancel_requested and not await halts(running):
                self._deliver(running, Stopped("cancelled before it began"))
                return
            tell_started(self._config.observers, running)
            outcome = await attempt(
                running,
                self._config.router.chain(running.handler),
                in_thread=self._in_thread,
                in_loop=self._config.in_loop,
                bounds=self._config.bounds,
                around=self._around,
            )
            self._deliver(running, outcome)
        except Exception as error:  # noqa: BLE001  whatever it was
            self._unrunnable(running, error)
        finally:
            self._ahead.ended(time.monotonic() - began)
            self._end_one()

    def _unrunnable(self, running: Running, error: Exception) -> None:
        """What failed is not the handler; without an outcome its job would stay with us."""
        logger.error("job %s could not be run", running.job.id, exc_info=error)
        self._deliver(running, ended(running, error, self._config.bounds))

    def _deliver(self, running: Running, outcome: Outcome | None) -> None:
        if running.finishing:
            return  # its outcome was written without it
        if outcome is not None:
            if isinstance(outcome, Released) and not running.entered:
                self.started -= 1
                self._on_spared()
            self.finisher.add(running, outcome)
            return
        running.finishing = True
        job = running.job
        logger.warning("job %s was lost to another claim; its outcome is dropped", job.id)
        self._config.observers.lease_lost(job.id, job.type)
        self.freed([running])

    def _stopped(self, running: Running, _: asyncio.Task[None]) -> None:
        """The task of a handler that was asked to stop has ended."""
        if not running.begun:
            for one in [running] if running.call is None else running.call.members:
                one.begun = True
            self._end_one()
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
        if self._given_up >= self._count:
            self._on_stuck(self.hanging)

    def lost(self, running: Running) -> None:
        """The lease could not be kept: the handler must stop, and its outcome is not ours."""
        if running.committed is not None:
            return  # it completed its job itself, which needs no lease any more
        if not running.finishing:
            logger.warning("lost the lease of job %s (%s)", running.job.id, running.job.type)
        running.stop("lease")

    def freed(self, done: Sequence[Running]) -> None:
        """The outcomes of these are durable, or refused."""
        if self._calls:
            self._leave_calls(self.held.intersection(done))
        self.held.difference_update(done)
        self._ahead.measure(time.monotonic())
        self._on_freed()
        if not self.held:
            self._changed.set()

    def _leave_calls(self, done: Iterable[Running]) -> None:
        for running in done:
            if running.call is not None:
                self._calls[running.call] -= 1
                if not self._calls[running.call]:
                    del self._calls[running.call]

    def hurry(self) -> None:
        """The patience of `close` has changed."""
        self._changed.set()

    async def close(self, grace: Callable[[], float], reason: Stop = "shutdown") -> None:
        """Give running jobs their grace, then cancel them, and give back what is left."""
        self._give_back_line("the worker was shutting down")
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
            self._deliver(running, given_back(running))
        await self.until_idle(lambda: FLUSH)
        self._deadlines.close()
        if self._patience is not None:
            self._patience.cancel()

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
