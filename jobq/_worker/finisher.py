"""Write outcomes: in batches, until they are durable; only then is a slot free again."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve

from jobq import backends
from jobq._config import Config
from jobq._errors import BackendError, BackendUnavailable
from jobq._masking import mask
from jobq._model import FINISHED, JobStatus
from jobq._outcome import (
    POLLED,
    Closing,
    Outcome,
    Parked,
    Raised,
    Succeeded,
    Transition,
    completed,
    decide,
)
from jobq._payload import dumps
from jobq._retry import with_usual_rests
from jobq._worker.claimer import Claimer, Loan
from jobq._worker.closings import with_closings
from jobq._worker.execute import not_committed
from jobq._worker.running import Running
from jobq._worker.tally import Tally
from jobq._worker.watched import tell
from jobq.observe import logger

LARGEST = 500


class Finisher:
    """Collects ended attempts and writes them together.

    While one batch is being written the next one gathers, so batches grow with the load and an
    idle worker writes at once. `freed` is called with the jobs whose outcome is durable (or was
    refused), `requeued` when some of them are to run again.
    """

    def __init__(
        self,
        store: backends.AsyncStore,
        *,
        worker: str,
        config: Config,
        closed: Callable[[Closing], None],
        freed: Callable[[Sequence[Running]], None],
        requeued: Callable[[set[str]], None],
        tally: Tally,
        claimer: Claimer | None = None,
    ) -> None:
        self._store = store
        self._worker = worker
        self._config = config
        self._keep = config.keep
        self._bounds = config.bounds
        self._observers = config.observers
        self._closed = closed
        self._freed = freed
        self._requeued = requeued
        self._tally = tally
        self._claimer = claimer
        self._waiting: list[tuple[Running, Outcome]] = []
        self._wake = asyncio.Event()
        self._writing = 0
        self._asked_at = 0.0
        """When a batch was last sent, by the monotonic clock."""

    def add(self, running: Running, outcome: Outcome) -> None:
        """Take over an ended attempt."""
        running.finishing = True
        self._waiting.append((running, outcome))
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether everything that was added is durable."""
        return not self.unwritten

    @property
    def unwritten(self) -> int:
        """How many were added and are not yet durable."""
        return len(self._waiting) + self._writing

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._gather()
                await self.flush()

    async def _gather(self) -> None:
        """Let handlers that end at about the same time share a batch: bounded, 2 ms at most."""
        until = time.monotonic() + 0.002
        size = -1
        while size != len(self._waiting) < LARGEST and time.monotonic() < until:
            size = len(self._waiting)
            await asyncio.sleep(0)

    async def flush(self) -> None:
        """Write one batch; a database that cannot be reached is asked again until it answers."""
        batch, self._waiting = self._waiting[:LARGEST], self._waiting[LARGEST:]
        if not batch:
            return
        self._writing = len(batch)
        try:
            endings = [self._ending(running, outcome) for running, outcome in batch]
            closings = [closing for ending in endings for closing in ending.transition.closes]
            if closings:
                await self._close(closings)
            loan = self._borrow(endings)
            claimed: Sequence[Any] = []
            try:
                done, claimed = await self._write(endings, None if loan is None else loan.wanted)
                self._writing = 0
                await self._end_batches(batch, done)
                self._settle(batch, endings, done)
            finally:
                if self._claimer is not None and loan is not None:
                    self._claimer.take_back(loan, claimed, self._asked_at)
        except asyncio.CancelledError:
            if self._writing:
                self._waiting = [*batch, *self._waiting]  # for `last_try`
            raise
        finally:
            self._writing = 0

    def _borrow(self, endings: Sequence[Any]) -> Loan | None:
        """A claim to make together with these endings, where that can be one unit of work."""
        if self._claimer is None or self._claimer.goes_alone:
            return None
        in_one = self._store.dialect.writes_in_ctes
        if in_one and not all(ending.completes for ending in endings):
            return None  # it would be several statements in a transaction
        return self._claimer.lend(len(endings))

    async def last_try(self) -> None:
        """Write what is left at the end, if the database answers now."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            endings = [self._ending(running, outcome) for running, outcome in batch]
            op = backends.ops.finish_with_more
            done = await self._store.run(op, endings, keep=self._keep, again=True)
            self._settle(batch, endings, done)

    def _ending(self, running: Running, outcome: Outcome) -> Any:
        transition = (
            completed(outcome.result)
            if isinstance(outcome, Succeeded)
            else self._decided(running, outcome)
        )
        job = running.job
        return backends.ops.Ending(
            job.id,
            job.fence,
            job.attempts,
            job.started_at,
            self._worker,
            transition,
            progress=running.progress,
            message=running.message,
            partial=running.newly_shown,
            deletes=job.keep_seconds == 0,
            committed=isinstance(outcome, Succeeded) and outcome.committed,
            artifacts=running.uploaded,
        )

    def _decided(self, running: Running, outcome: Outcome) -> Transition:
        if isinstance(outcome, Raised):
            limits = self._config.limits_of(running.handler, running.job.queue)
            outcome = with_closings(outcome, running, limits)
        elif isinstance(outcome, Parked) and running.lane is not None:
            limits = self._config.limits_of(running.handler, running.job.queue)
            keys = dumps(running.chosen) if running.chosen else None
            outcome = evolve(outcome, lane=running.lane.on_return(limits).text, keys=keys)
        retry = running.handler.retry
        try:
            return decide(outcome, running.standing, retry, random.random())
        except Exception:  # noqa: BLE001  the app's own backoff: others must not suffer
            logger.exception("the backoff of %s is broken: the usual one counts", running.name)
            return decide(outcome, running.standing, with_usual_rests(retry), random.random())

    async def _close(self, closings: Sequence[Closing]) -> None:
        """Close limits before the jobs go back that found them closed."""
        rows = [
            {"key": c.key, "delay": c.delay, "until": c.until, "reason": c.reason} for c in closings
        ]
        for closing in closings:
            self._closed(closing)
        try:
            await self._store.run(backends.ops.block, rows)
        except BackendError as error:
            logger.warning("cannot close limits: %s", error)

    async def _end_batches(
        self, ended: list[tuple[Running, Outcome]], done: dict[str, str]
    ) -> None:
        """Where jobs of batches have ended, look whether they were the last ones."""
        jobs = [running.job for running, _ in ended if running.job.batch_id is not None]
        ids = {job.batch_id for job in jobs if done.get(job.id) in FINISHED}
        if not ids:
            return
        try:
            op = backends.ops.end_batches
            follow = await self._store.run(op, sorted(ids), keep=self._keep)
        except BackendError as error:
            logger.warning("cannot end batches yet: %s", error)
            return
        for job in follow:
            self._observers.job_enqueued(job)
        if follow:
            self._requeued({job.queue for job in follow})

    async def _write(
        self, endings: list[Any], wanted: dict[str, Any] | None = None
    ) -> tuple[dict[str, str], Sequence[Any]]:
        """`{job id: status}` of what was ended, and the jobs that were claimed along with it."""
        ops, keep = backends.ops, self._keep
        again: dict[str, bool] = {}
        while True:
            self._asked_at = time.monotonic()
            try:
                if wanted is not None:
                    joined = ops.joined(self._store.dialect)
                    return await self._store.run(joined, endings, wanted, keep=keep, **again)
                have_more = any(ending.has_more for ending in endings)
                op = ops.finish_with_more if have_more else ops.finish
                return await self._store.run(op, endings, keep=keep, **again), []
            except BackendUnavailable as error:
                logger.warning("cannot write outcomes yet: %s", error)
                again = {"again": True}
                await asyncio.sleep(random.uniform(0.1, 1.0))
            except BackendError as error:
                if len(endings) == 1:
                    return await self._write_plainly(endings[0], error), []
                done: dict[str, str] = {}
                for ending in endings:
                    done |= (await self._write([ending]))[0]
                return done, []

    async def _write_plainly(self, ending: Any, error: BackendError) -> dict[str, str]:
        """An outcome that the database refuses still ends in a terminal status."""
        job_id = ending.id
        logger.error("the outcome of job %s cannot be stored: %s", job_id, error)
        plain = Transition(
            status=JobStatus.FAILED,
            outcome="failed",
            error=mask(f"its outcome could not be stored: {error}")[:2000],
            error_code="result_unstorable",
        )
        try:
            return await self._store.run(
                backends.ops.finish, [ending._replace(transition=plain)], keep=self._keep
            )
        except BackendError:
            logger.exception("job %s keeps its lease until that ends", job_id)
            return {}

    def _settle(
        self, batch: list[tuple[Running, Outcome]], endings: list[Any], done: dict[str, str]
    ) -> None:
        freed: list[Running] = []
        tells = logger.isEnabledFor(logging.DEBUG)
        requeued: set[str] = set()
        ended: list[tuple[str, str, str, str, float]] = []
        now = time.monotonic()
        for (running, _), ending in zip(batch, endings, strict=True):
            job, transition = running.job, ending.transition
            status = done.get(job.id)
            if status is None and running.committed is not None:
                self._look_again(running, ending)
                continue
            freed.append(running)
            if status is None:
                logger.warning("the outcome of job %s came too late and was refused", job.id)
                self._observers.lease_lost(job.id, job.type)
                continue
            if status in ("pending", "rate_limited", "waiting"):
                requeued.add(job.queue)
            seconds = now - running.runs_since
            ended.append((job.queue, job.type, status, transition.outcome, seconds))
            if self._observers:
                tell(self._observers, running, transition, status, seconds)
            if tells or transition.status is not JobStatus.COMPLETED:
                _log(running, transition)
        self._tally.count(ended)
        self._freed(freed)
        if requeued:
            self._requeued(requeued)

    def _look_again(self, running: Running, ending: Any) -> None:
        """The handler called `complete`: was that committed, and its ending not, or neither?"""
        committed, running.committed = running.committed, None
        if ending.committed:
            self.add(running, not_committed(self._bounds))
        else:  # it raised after its commit, or before it could
            self.add(running, Succeeded(committed or "null", committed=True))


def _log(running: Running, transition: Transition) -> None:
    job = running.job
    extra = {"job_id": job.id, "job_type": job.type}
    if transition.status is JobStatus.COMPLETED:
        logger.debug("job %s (%s) completed", job.id, job.type, extra=extra)
    elif transition.outcome == POLLED:
        logger.debug("job %s (%s) waits on", job.id, job.type, extra=extra)
    else:
        logger.info(
            "job %s (%s) attempt %d %s: %s",
            job.id,
            job.type,
            job.attempts,
            transition.outcome,
            (transition.error or "").partition("\n")[0],
            extra=extra,
        )
