"""Run jobs for a bounded time, for those who have no worker process: cron jobs and functions."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import datetime
from typing import Any, Literal, TypeVar

import attrs
from attrs import frozen

from jobq import _verbs as verbs
from jobq import backends
from jobq._clock import to_datetime
from jobq._config import Config
from jobq._loops import in_event_loop
from jobq._model import Counts, JobStatus
from jobq._outcome import Transition
from jobq._queue import AsyncQueue, Queue
from jobq._steps import Do
from jobq._worker.bounded import BoundedWorker
from jobq._worker.relay import Relay
from jobq._worker.tally import Tally, write
from jobq._worker.upkeep import Upkeep
from jobq.http.budget import AFTERWARDS, Budget
from jobq.observe import Observer

T = TypeVar("T")
LABEL = "drive endpoint"
Stopped = Literal["empty", "budget", "maxJobs", "limited"]


@frozen(kw_only=True)
class Report:
    """What a call came to; `remaining` are the jobs that still wait to be run."""

    processed: int
    outcomes: Counter[str]
    remaining: int
    next_run_at: datetime | None
    elapsed: float
    stopped_because: Stopped


@frozen(kw_only=True)
class Standing:
    """How many jobs are in each status, and when the next one is due that is not yet."""

    counts: Counts
    next_run_at: datetime | None

    @property
    def remaining(self) -> int:
        return self.counts[JobStatus.PENDING] + self.counts[JobStatus.RATE_LIMITED]


class Outcomes(Observer):
    """Counts what became of the jobs of one call."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    def job_moved(self, job_id: str, type: str, transition: Transition, seconds: float) -> None:  # noqa: ARG002  a hook's arguments
        self.outcomes[transition.outcome] += 1


async def drive(queue: Queue | AsyncQueue, budget: Budget) -> Report:
    """Do a share of what workers do on the side, then run jobs; come back within the budget."""
    began = time.monotonic()
    seen = Outcomes()
    config: Config = queue._config  # noqa: SLF001  a face of the configuration
    watched = attrs.evolve(config, observers=config.observers.joined(seen))
    face = AsyncQueue._face_of(watched)  # noqa: SLF001  the same configuration, watched
    async with face:
        await _upkeep(watched)
        spent = time.monotonic() - began
        worker = BoundedWorker(
            face,
            seconds=budget.seconds - budget.reserve - spent,
            beyond=budget.reserve + AFTERWARDS,
            concurrency=min(budget.concurrency, budget.max_jobs),
            lease=budget.lease,
            label=LABEL,
        )
        ran = await worker.work(budget.max_jobs)
        standing = await face._do(look)  # noqa: SLF001  a verb of our own
    return Report(
        processed=ran,
        outcomes=seen.outcomes,
        remaining=standing.remaining,
        next_run_at=_earliest(standing.next_run_at, worker.opens_at),
        elapsed=time.monotonic() - began,
        stopped_because=_reason(worker, standing, ran, budget),
    )


def look(config: Config) -> verbs.Verb[Standing]:
    """How many jobs there are, and what comes next."""
    counts = yield Do(backends.ops.counts, backends.ops.Filter())
    survey = yield Do(backends.ops.survey, types=[])
    due = None if survey.next_run_at is None else to_datetime(survey.next_run_at)
    coming = (due, (yield from _next_tick(config)))
    next_run_at = min((moment for moment in coming if moment is not None), default=None)
    return Standing(counts=counts, next_run_at=next_run_at)


def _next_tick(config: Config) -> verbs.Verb[datetime | None]:
    """When a schedule of this code ticks next."""
    mine = {schedule.name for schedule in config.router.schedules}
    stored = (yield Do(backends.ops.all_schedules)) if mine else []
    running = [one for one in stored if one.name in mine and not one.paused]
    return min((one.next_tick for one in running if one.next_tick is not None), default=None)


def _earliest(due: datetime | None, opens_at: int | None) -> datetime | None:
    opens = None if opens_at is None else to_datetime(opens_at)
    return min((moment for moment in (due, opens) if moment is not None), default=None)


def _reason(worker: BoundedWorker, standing: Standing, ran: int, budget: Budget) -> Stopped:
    if ran >= budget.max_jobs:
        return "maxJobs"
    if worker.out_of_time and standing.remaining:
        return "budget"
    return "empty" if worker.opens_at is None else "limited"


async def _upkeep(config: Config) -> None:
    """A bounded share of it: where nobody else does it, this call has to."""
    tally = Tally()
    async with aclosing(config.async_store()) as store:
        upkeep = Upkeep(
            store,
            lease=AFTERWARDS,
            keep=config.keep,
            observers=config.observers,
            rescued=lambda _: None,
            tally=tally,
        )
        await upkeep.share()
        await Relay(store, config).round()
        await write(store, LABEL, tally)


def drive_here(queue: Queue, budget: Budget) -> Report:
    """`drive` from synchronous code."""
    return run_blocking(drive(queue, budget))


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run to its end, in a thread of its own where this one has an event loop."""
    if not in_event_loop():
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
