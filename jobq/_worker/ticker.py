"""Notice when schedules are due, and enqueue their jobs. Any worker may; none leads."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from jobq import backends
from jobq._clock import SECOND, to_datetime
from jobq._config import Config
from jobq._cron import MOST, Schedule
from jobq._enqueue import new_row
from jobq._errors import ConfigurationError, JobqError
from jobq._model import NewJob, new_id
from jobq._payload import dumps, loads
from jobq._wakeup import wake
from jobq.observe import logger

if TYPE_CHECKING:
    from jobq.backends.ops.insert import NewRow

LOOK_EVERY = 60.0
"""Seconds after which schedules are looked at again: they may have been resumed meanwhile."""
SEE_EVERY = 30.0
"""How often, in seconds at least, a worker says that it has its schedules."""
AGAIN = 1.0
"""Seconds after which a tick is looked at again that another worker was at."""


class Ticker:
    """The schedules of a queue's router.

    What a schedule says is kept in its row, as the process declared it that started last: while
    versions of the code differ, all act by the same one.
    """

    def __init__(self, store: backends.AsyncStore, config: Config) -> None:
        self._store = store
        self._config = config
        self._names = [schedule.name for schedule in config.router.schedules]
        self._rest = 0.0
        self._seen_at = float("-inf")

    def __bool__(self) -> bool:
        return bool(self._names)

    async def start(self) -> None:
        """Store what the code declares, and make the first round.

        Raises `ConfigurationError` where a schedule's jobs could not be enqueued on this queue.
        """
        if not self._names:
            return
        schedules = self._config.router.schedules
        for schedule in schedules:
            self._try_out(schedule)
        declare = backends.ops.declare_schedules
        first = not self._config.declared.issuperset(self._names)
        holds = await self._store.run(declare, schedules, change=first)
        self._config.declared.update(self._names)
        if any(one not in schedules for one in holds):
            logger.info("another version of the code has declared other schedules since")
        await self.round()

    def _try_out(self, schedule: Schedule) -> None:
        try:
            new_row(self._config, _job(schedule, 0))
        except JobqError as error:
            raise ConfigurationError(f"schedule {schedule.name!r}: {error}") from None

    async def run(self) -> None:
        """Be there for every tick, until cancelled."""
        while True:
            await asyncio.sleep(self._rest)
            try:
                await self.round()
            except JobqError as error:
                self._rest = 5.0 * random.uniform(0.5, 1.0)
                logger.warning("schedules: %s", error)

    async def round(self) -> None:
        """Enqueue the jobs that are due now: all that is needed where no worker goes on."""
        if time.monotonic() > self._seen_at + SEE_EVERY:
            await self._store.run(backends.ops.see_schedules, self._names)
            self._seen_at = time.monotonic()
        done = await self._store.run(backends.ops.tick, self._names, self._row)
        self._report(done)
        jobs = [one.job for one in done.ticks if one.job is not None]
        if jobs:
            wake(self._config.backend.identity)
        for job in jobs:
            self._config.observers.job_enqueued(job)
        self._rest = _rest(done)

    def _row(self, schedule: Schedule, tick: int) -> NewRow:
        """The job of a tick; what another version of the code declared, that one will check."""
        new = _job(schedule, tick)
        try:
            return new_row(self._config, new)
        except JobqError as error:
            logger.info("schedule %r is for another version: %s", schedule.name, error)
        given = [name for name in ("queue", "priority") if getattr(schedule, name) is not None]
        terms = backends.ops.Terms(
            type=schedule.type,
            queue=schedule.queue or "default",
            priority=schedule.priority or 0,
            run_at=tick,
            unique_key=schedule.unique_key,
            owner=schedule.owner,
            metadata=dumps(new.metadata),
            given=",".join(given) or None,
        )
        return backends.ops.NewRow(id=new_id(), payload=schedule.payload, terms=terms)

    def _report(self, done: backends.ops.Round) -> None:
        for one in done.ticks:
            if one.job is None:
                text = "schedule %r: passed over %s, the job of an earlier tick is unfinished"
                logger.info(text, one.schedule.name, to_datetime(one.tick).isoformat())
        for schedule, count in done.left_out:
            level = "warning" if schedule.catch_up == "all" else "info"
            many = f"{MOST} or more" if count >= MOST else str(count)
            getattr(logger, level)("schedule %r: left out %s missed ticks", schedule.name, many)
        for name, reason in done.unknown:
            logger.warning("schedule %r cannot tick: %s", name, reason)


def _job(schedule: Schedule, tick: int) -> NewJob:
    moment = to_datetime(tick)
    return NewJob(
        type=schedule.type,
        payload=loads(schedule.payload),
        run_at=moment,
        queue=schedule.queue,
        priority=schedule.priority,
        owner=schedule.owner,
        unique_key=schedule.unique_key,
        metadata={"schedule": schedule.name, "tick": f"{moment:%Y-%m-%dT%H:%M:%SZ}"},
    )


def _rest(done: backends.ops.Round) -> float:
    """Seconds until the next look."""
    if done.next_tick is None:
        return LOOK_EVERY
    if done.next_tick <= done.now:
        return AGAIN * random.uniform(0.5, 1.0)
    return min((done.next_tick - done.now) / SECOND, LOOK_EVERY)
