"""What workers count, so that no chart scans jobs."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import jobq
from jobq._worker.tally import Tally
from jobq._worker.upkeep import Upkeep
from jobq.backends import ops
from jobq.http.budget import Budget
from jobq.http.drive import drive
from jobq.observe import Observers
from jobq.testing import FrozenClock
from tests.conformance.situations import claim, run, sql

NOON = datetime(2031, 1, 1, 12, tzinfo=UTC)


def row(queue: str = "default", type: str = "work", **counts: int) -> dict[str, Any]:
    none = {"completed": 0, "failed": 0, "retried": 0, "duration_ms": 0}
    return {"queue": queue, "type": type, **none, **counts}


def total(stats: list[jobq.Stat]) -> tuple[int, int, int]:
    completed = sum(one.completed for one in stats)
    return completed, sum(one.failed for one in stats), sum(one.retried for one in stats)


@pytest.fixture
def mixed(router: jobq.Router) -> jobq.Router:
    """A handler that does what its payload says."""

    @router.handler("work", retry=jobq.Retry(max_attempts=2, backoff=jobq.Fixed(0.0)))
    async def work(payload: dict) -> None:
        if payload["fate"] == "permanent":
            raise jobq.Permanent("no")
        if payload["fate"] == "snooze":
            raise jobq.Snooze(3600)
        if payload["fate"] == "error":
            raise ValueError(payload)

    return router


async def test_a_worker_counts_how_its_attempts_ended(
    aqueue: jobq.AsyncQueue, mixed: jobq.Router
) -> None:
    for fate in ("fine", "fine", "permanent", "error", "snooze"):
        await aqueue.enqueue("work", {"fate": fate})
    await jobq.Worker(aqueue, label="anna").run_once()
    (minute, *more) = [s for s in await aqueue.stats(minutes=2, by="worker") if s.seconds]
    later = more[0] if more else jobq.Stat(minute=minute.minute)  # the minute may have ended
    assert total([minute, later]) == (2, 2, 1)
    assert minute.name == "anna"
    assert 0 < minute.seconds + later.seconds < 60


async def test_a_heartbeat_takes_the_counts_along(
    aqueue: jobq.AsyncQueue, mixed: jobq.Router
) -> None:
    job = await aqueue.enqueue("work", {"fate": "fine"})
    async with jobq.Worker(aqueue, lease=1.0).running():
        await aqueue.wait(job.id, timeout=20)
        async with asyncio.timeout(20):
            while total(await aqueue.stats()) != (1, 0, 0):
                await asyncio.sleep(0.05)
    assert total(await aqueue.stats()) == (1, 0, 0)


async def test_a_drive_call_counts_under_one_name(
    aqueue: jobq.AsyncQueue, mixed: jobq.Router
) -> None:
    budget = Budget(seconds=20, max_jobs=10, concurrency=2)
    for _ in range(2):
        await aqueue.enqueue("work", {"fate": "fine"})
        await drive(aqueue, budget)
    assert {s.name for s in await aqueue.stats(by="worker")} == {"drive endpoint"}
    assert total(await aqueue.stats()) == (2, 0, 0)


def test_an_idle_heartbeat_is_one_statement(queue: jobq.Queue) -> None:
    worker = {"id": "w", "label": "w"}
    dialect: Any = queue._store().dialect

    def calls(**more: Any) -> int:
        return sum(1 for _ in ops.heartbeat(dialect, **worker, **more))

    assert calls(stats=[]) == 1
    assert calls(stats=[row(completed=1)]) == 2


def test_counts_of_the_same_minute_add_up(frozen: jobq.Queue) -> None:
    for _ in range(2):
        rows = [row(completed=3, duration_ms=1500), row(type="other", failed=1)]
        run(frozen, ops.add_stats, "anna", rows)
    run(frozen, ops.add_stats, "bert", [row(retried=5)])
    assert sql(frozen, "SELECT count(*) FROM jobq_stat") == [(3,)]
    last = frozen.stats(minutes=1)[0]
    assert (last.completed, last.failed, last.retried, last.seconds) == (6, 2, 5, 3.0)
    assert last.minute == NOON


def test_each_minute_is_a_point_also_where_nothing_happened(
    frozen: jobq.Queue, clock: FrozenClock
) -> None:
    run(frozen, ops.add_stats, "anna", [row(completed=1)])
    clock.advance(timedelta(minutes=2, seconds=59))
    run(frozen, ops.add_stats, "anna", [row(completed=2)])
    points = frozen.stats(minutes=4)
    assert [point.minute.minute for point in points] == [59, 0, 1, 2]
    assert [point.completed for point in points] == [0, 1, 0, 2]
    assert [point.completed for point in frozen.stats(minutes=20, step=10)] == [0, 3]
    assert [point.completed for point in frozen.stats(minutes=1)] == [2]


def test_each_queue_type_or_worker_has_a_series(frozen: jobq.Queue) -> None:
    run(frozen, ops.add_stats, "anna", [row(completed=1), row(queue="slow", completed=2)])
    run(frozen, ops.add_stats, "bert", [row(type="other", completed=4)])
    sums = {
        by: {s.name: s.completed for s in frozen.stats(minutes=1, by=by)}
        for by in ("queue", "type", "worker")
    }
    assert sums == {
        "queue": {"default": 5, "slow": 2},
        "type": {"other": 4, "work": 3},
        "worker": {"anna": 3, "bert": 4},
    }
    assert frozen.stats(minutes=1, queue="default", worker="anna")[0].completed == 1
    assert len(frozen.stats(minutes=7, by="queue")) == 14
    assert frozen.stats(by="queue", type="unheard") == []


def test_counts_are_deleted_after_seven_days(frozen: jobq.Queue, clock: FrozenClock) -> None:
    for _ in range(3):
        run(frozen, ops.add_stats, "anna", [row(completed=1)])
        clock.advance(timedelta(hours=1))
    assert not run(frozen, ops.overdue).stats
    clock.advance(timedelta(days=7, minutes=-90))
    left = []
    while run(frozen, ops.overdue).stats:
        run(frozen, ops.prune_stats)
        left += sql(frozen, "SELECT count(*) FROM jobq_stat")
    assert left == [(2,), (1,)]


async def test_upkeep_deletes_old_counts(
    afrozen: jobq.AsyncQueue, clock: FrozenClock, mixed: jobq.Router
) -> None:
    run(afrozen.sync, ops.add_stats, "anna", [row(completed=1)])
    clock.advance(timedelta(days=8))
    async with jobq.Worker(afrozen).running(), asyncio.timeout(20):
        while sql(afrozen.sync, "SELECT count(*) FROM jobq_stat") != [(0,)]:
            await asyncio.sleep(0.05)


async def test_attempts_of_lost_workers_are_counted_by_who_rescues(
    afrozen: jobq.AsyncQueue, clock: FrozenClock, mixed: jobq.Router
) -> None:
    await afrozen.enqueue("work", {"fate": "fine"})
    assert len(claim(afrozen.sync)) == 1
    clock.advance(timedelta(minutes=1))
    tally = Tally()
    async with aclosing(afrozen._config.async_store()) as store:
        await Upkeep(
            store, lease=30, keep=None, observers=Observers(), rescued=lambda _: None, tally=tally
        ).rescue()
    assert tally.take() == [row(retried=1)]


def test_counts_that_could_not_be_stored_are_kept_for_the_next_heartbeat() -> None:
    tally = Tally()
    tally.count([("default", "work", "completed", "completed", 1.5)])
    tally.put_back(tally.take())
    tally.count([("default", "work", "completed", "completed", 1.0)])
    assert tally.take() == [row(completed=2, duration_ms=2500)]
    assert tally.take() == []


@pytest.mark.parametrize(
    "options, says",
    [
        ({"minutes": 0}, "minutes=0 must be a whole number of minutes, 1 to 10080"),
        ({"minutes": 1.5}, "minutes=1.5 must be"),
        ({"step": True}, "step=True must be"),
        ({"minutes": 10_080}, "give a larger step"),
        ({"by": "owner"}, "by='owner' is none of queue, type, worker"),
        ({"queue": 7}, "queue"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    queue: jobq.Queue, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(jobq.OptionError, match=says):
        queue.stats(**options)
