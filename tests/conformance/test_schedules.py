"""Schedules: one job for each tick, whoever notices it, and none for those that were given up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

import jobq
from jobq._clock import SECOND
from jobq._cron import Schedule
from jobq._model import new_id
from jobq._worker.ticker import AGAIN, LOOK_EVERY, Ticker
from jobq.backends import ops
from jobq.http.budget import Budget
from jobq.http.drive import drive, drive_here
from jobq.testing import FrozenClock, adrain, drain
from tests.conformance.situations import claim, finish, run, sql

HOUR = 3600.0
NOON = datetime(2031, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def report(router: jobq.Router) -> jobq.Handler[dict, dict]:
    @router.handler("report")
    async def report(payload: dict, job: jobq.JobContext) -> dict:
        return dict(job.metadata)

    return report


@pytest.fixture
def another(url: str, clock: FrozenClock) -> Iterator[Callable[[jobq.Router], jobq.Queue]]:
    """Another process on the same database, by its router."""
    with ExitStack() as opened:
        yield lambda router: opened.enter_context(jobq.Queue(url, router=router, clock=clock))


def declaring(expression: str, type: str = "report", **options: Any) -> jobq.Router:
    """A router with one schedule."""
    router = jobq.Router()

    @router.cron(expression, **options)
    @router.handler(type)
    async def handle(payload: dict, job: jobq.JobContext) -> dict:
        return dict(job.metadata)

    return router


def ticks(queue: jobq.Queue) -> list[str]:
    """The ticks that have become jobs, in order."""
    return sorted(job.metadata["tick"] for job in queue.list(limit=1000).jobs)


# --- ticks -------------------------------------------------------------------------------------


def test_a_call_of_the_drive_endpoint_ticks(frozen, clock, router, report):
    budget = Budget(seconds=5, max_jobs=10, concurrency=2)
    router.cron("0 * * * *")(report)
    assert drive_here(frozen, budget).processed == 0
    clock.advance(HOUR)
    assert drive_here(frozen, budget).processed == 1
    assert ticks(frozen) == ["2031-01-01T13:00:00Z"]
    assert drive_here(frozen, budget).processed == 0


def test_a_tick_becomes_a_job_that_knows_it(frozen, clock, router, report):
    router.cron("0 * * * *", payload={"days": 7}, owner="ada", priority="batch")(report)
    assert drain(frozen) == 0
    clock.advance(HOUR - 1)
    assert drain(frozen) == 0
    clock.advance(1)
    assert drain(frozen) == 1
    [job] = frozen.list().jobs
    assert (job.type, job.payload, job.owner, job.priority) == ("report", {"days": 7}, "ada", -100)
    assert job.result == {"schedule": "report", "tick": "2031-01-01T13:00:00Z"}
    assert job.run_at == NOON + timedelta(hours=1)
    assert drain(frozen) == 0


async def test_the_asynchronous_face_sees_the_same(afrozen, clock, router, report):
    router.cron("0 * * * *")(report)
    await adrain(afrozen)
    clock.advance(HOUR)
    assert await adrain(afrozen) == 1
    [info] = await afrozen.schedules()
    assert (info.last_tick, info.last_status) == (NOON + timedelta(hours=1), "completed")


def test_a_new_schedule_ticks_from_now_on(frozen, router, report):
    router.cron("* * * * *")(report)
    assert drain(frozen) == 0
    [info] = frozen.schedules()
    assert info.next_tick == NOON + timedelta(minutes=1)
    assert (info.last_tick, info.last_job_id, info.last_status) == (None, None, None)


def test_however_many_look_each_tick_becomes_one_job(frozen, clock, another):
    workers = [another(declaring("*/10 * * * *")) for _ in range(3)]
    for _ in range(4):
        for worker in workers:
            drain(worker, max_jobs=1)
        clock.advance(HOUR / 6)
    assert ticks(frozen) == [f"2031-01-01T12:{minute}:00Z" for minute in (10, 20, 30)]


def test_a_tick_that_is_recorded_makes_no_job_whatever_the_schedule_says(frozen, clock, another):
    worker = another(declaring("0 * * * *"))
    drain(worker)
    clock.advance(HOUR)
    assert drain(worker) == 1
    clock.set(NOON)
    sql(frozen, "DELETE FROM jobq_schedule")  # as if all had been forgotten but the record
    assert drain(worker) == 0
    clock.advance(HOUR)
    assert drain(worker) == 0
    assert ticks(frozen) == ["2031-01-01T13:00:00Z"]


def test_a_round_that_is_rolled_back_is_made_again(frozen, clock, router, report, monkeypatch):
    router.cron("0 * * * *")(report)
    drain(frozen)
    clock.advance(HOUR)

    def fails(*args: object) -> Any:
        raise jobq.BackendError("the connection broke")

    with monkeypatch.context() as broken:
        broken.setattr(Ticker, "_row", fails)
        with pytest.raises(jobq.BackendError):
            drain(frozen)
    assert frozen.list().jobs == ()
    assert sql(frozen, "SELECT count(*) FROM jobq_tick") == [(0,)]
    assert drain(frozen) == 1


def test_a_clock_that_jumps_ahead_and_back_stops_no_schedule_and_repeats_no_tick(
    frozen, clock, router, report
):
    router.cron("0 * * * *")(report)
    drain(frozen)
    clock.advance(3 * HOUR)
    assert drain(frozen) == 1
    clock.set(NOON + timedelta(minutes=30))
    assert drain(frozen) == 0
    assert frozen.schedules()[0].next_tick == NOON + timedelta(hours=1)
    for _ in range(4):
        clock.advance(HOUR)
        drain(frozen)
    assert ticks(frozen) == [f"2031-01-01T{hour}:00:00Z" for hour in (13, 14, 15, 16)]


def test_jobs_of_a_schedule_are_declared_and_limited_like_any_other(frozen, clock, router):
    @router.cron("0 * * * *")
    @router.handler("call", limits=[jobq.RateLimit("api:{metadata.schedule}", 1, per=60)])
    async def call() -> None: ...

    drain(frozen)
    clock.advance(HOUR)
    assert drain(frozen) == 1
    assert "api:call" in [limit.key for limit in frozen.limits()]


# --- changes of clocks: F22 --------------------------------------------------------------------


@pytest.mark.parametrize(
    "day, expected",
    [
        (datetime(2031, 3, 29, 12, tzinfo=UTC), ["2031-03-30T01:00:00Z", "2031-03-31T00:30:00Z"]),
        (datetime(2031, 10, 25, 12, tzinfo=UTC), ["2031-10-26T00:30:00Z", "2031-10-27T01:30:00Z"]),
        (datetime(2032, 2, 28, 12, tzinfo=UTC), ["2032-02-29T01:30:00Z", "2032-03-01T01:30:00Z"]),
    ],
    ids=["spring", "autumn", "leap day"],
)
def test_half_past_two_comes_once_a_day_whatever_clocks_do(
    frozen, clock, router, report, day, expected
):
    clock.set(day)
    router.cron("30 2 * * *", tz="Europe/Berlin")(report)
    drain(frozen)
    for _ in range(13):
        clock.advance(3 * HOUR)
        drain(frozen)
    assert ticks(frozen) == expected


# --- nobody was there: F23 ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "catch_up, expected",
    [
        ("skip", []),
        ("one", ["2031-01-01T15:00:00Z"]),
        ("all", [f"2031-01-01T{hour}:00:00Z" for hour in (13, 14, 15)]),
    ],
)
def test_after_an_outage_missed_ticks_follow_the_policy(frozen, clock, another, catch_up, expected):
    drain(another(declaring("0 * * * *", catch_up=catch_up)))
    clock.advance(3.5 * HOUR)
    drain(another(declaring("0 * * * *", catch_up=catch_up)))
    assert ticks(frozen) == expected
    clock.advance(HOUR / 2)
    drain(another(declaring("0 * * * *", catch_up=catch_up)))
    assert ticks(frozen) == [*expected, "2031-01-01T16:00:00Z"]


def test_missed_ticks_run_in_their_order(frozen, clock, router):
    ran = []

    @router.cron("0 * * * *", catch_up="all")
    @router.handler("report")
    async def report(payload: dict, job: jobq.JobContext) -> None:
        ran.append(job.metadata["tick"])

    drain(frozen)
    clock.advance(5 * HOUR)
    drain(frozen)
    assert ran == sorted(ran)
    assert len(ran) == 5


def test_what_is_left_out_is_told(frozen, clock, router, report, caplog):
    router.cron("0 * * * *", catch_up="skip")(report)
    drain(frozen)
    clock.advance(3.5 * HOUR)
    with caplog.at_level(logging.INFO, "jobq"):
        drain(frozen)
    assert "schedule 'report': left out 3 missed ticks" in caplog.text


# --- overlap -----------------------------------------------------------------------------------


def test_a_tick_is_passed_over_while_the_job_of_an_earlier_one_is_unfinished(
    frozen, clock, router, report, caplog
):
    router.cron("0 * * * *", overlap=False)(report)
    drain(frozen)
    clock.advance(HOUR)
    held = claimed_by_another(frozen)
    clock.advance(HOUR)
    with caplog.at_level(logging.INFO, "jobq"):
        drain(frozen)
    assert ticks(frozen) == ["2031-01-01T13:00:00Z"]
    assert "passed over 2031-01-01T14:00:00+00:00" in caplog.text
    assert sql(frozen, "SELECT job_id FROM jobq_tick ORDER BY tick DESC")[0] == (None,)
    finish(frozen, held)
    clock.advance(HOUR)
    drain(frozen)
    assert ticks(frozen) == ["2031-01-01T13:00:00Z", "2031-01-01T15:00:00Z"]


def claimed_by_another(queue: jobq.Queue) -> Any:
    """The job of the present tick, in the hands of a worker that takes its time."""
    run(queue, ops.tick, ["report"], _row)
    (held,) = claim(queue, types=("report",), lease=10**6 * SECOND)
    return held


def _row(schedule: Schedule, tick: int) -> ops.NewRow:
    terms = ops.Terms(
        type=schedule.type,
        declared=1,
        run_at=tick,
        unique_key=schedule.unique_key,
        metadata='{"tick":"2031-01-01T13:00:00Z"}',
    )
    return ops.NewRow(id=new_id(), payload="{}", terms=terms)


def test_jobs_of_ticks_may_overlap_unless_it_is_said(frozen, clock, router, report):
    router.cron("0 * * * *")(report)
    drain(frozen)
    clock.advance(HOUR)
    claimed_by_another(frozen)
    clock.advance(HOUR)
    assert drain(frozen) == 1


# --- versions of the code ----------------------------------------------------------------------


def test_the_version_that_started_last_says_when_to_tick_and_all_act_by_it(frozen, clock, another):
    old, new = another(declaring("0 * * * *")), another(declaring("30 * * * *"))
    drain(old)
    drain(new)
    for _ in range(4):
        clock.advance(HOUR / 2)
        drain(old)
        drain(new)
        drain(old)
    assert ticks(frozen) == ["2031-01-01T12:30:00Z", "2031-01-01T13:30:00Z"]


def test_a_changed_expression_has_missed_nothing_before_it_was_changed(frozen, clock, another):
    drain(another(declaring("0 18 * * *")))
    clock.advance(HOUR)
    assert drain(another(declaring("30 12 * * *"))) == 0
    assert frozen.schedules()[0].next_tick == NOON + timedelta(hours=24, minutes=30)


def test_a_changed_policy_leaves_the_ticks_as_they_are(frozen, clock, another):
    drain(another(declaring("0 * * * *", catch_up="all")))
    clock.advance(3 * HOUR)
    assert drain(another(declaring("0 * * * *", catch_up="one", payload={"new": 1}))) == 1
    [job] = frozen.list().jobs
    assert (job.payload, job.metadata["tick"]) == ({"new": 1}, "2031-01-01T15:00:00Z")


def test_a_schedule_that_is_removed_from_the_code_stops(frozen, clock, another):
    drain(another(declaring("0 * * * *")))
    without = jobq.Router()
    without.include(declaring("0 * * * *", name="other"))
    clock.advance(HOUR)
    drain(another(without))
    assert ticks(frozen) == []
    shown = {info.name: info.declared for info in frozen.schedules()}
    assert shown == {"report": False, "other": True}


def test_a_schedule_that_no_code_has_had_for_a_month_is_forgotten(frozen, clock, another):
    worker = another(declaring("0 0 1 * *"))
    drain(worker)
    clock.advance(31 * 24 * HOUR)
    drain(another(declaring("0 * * * *", name="other")))
    assert [info.name for info in frozen.schedules()] == ["other"]


def test_a_schedule_is_not_forgotten_as_long_as_a_worker_has_it(frozen, clock, another):
    worker = another(declaring("0 0 1 1 *"))
    for _ in range(3):
        drain(worker)
        clock.advance(20 * 24 * HOUR)
    drain(another(declaring("0 * * * *", name="other")))
    assert [info.name for info in frozen.schedules()] == ["other", "report"]


def test_a_payload_of_another_version_is_left_to_that_version(frozen, clock, another):
    strict = jobq.Router()

    @strict.cron("0 * * * *", payload={"days": 7})
    @strict.handler("report")
    async def report(payload: dict[str, int]) -> None: ...

    here = another(strict)
    drain(here)
    drain(another(declaring("0 * * * *", payload={"from": "yesterday"}, queue="slow")))
    clock.advance(HOUR)
    run_ticker(here)
    [job] = frozen.list().jobs
    assert (job.declared, job.payload, job.queue) == (False, {"from": "yesterday"}, "slow")


def run_ticker(queue: jobq.Queue) -> None:
    """One round, without a worker that would run what it brings."""

    async def once() -> None:
        async with aclosing(queue._config.async_store()) as store:
            await Ticker(store, queue._config).round()

    asyncio.run(once())


def test_a_stored_expression_that_is_unknown_here_stops_only_its_own_schedule(
    frozen, clock, router, report, caplog
):
    router.cron("0 * * * *")(report)
    router.cron("0 * * * *", name="other")(report)
    drain(frozen)
    sql(frozen, "UPDATE jobq_schedule SET expression = 'moonrise' WHERE name = 'report'")
    clock.advance(HOUR)
    assert drain(frozen) == 1
    assert "schedule 'report' cannot tick: 'moonrise' is no schedule" in caplog.text
    clock.advance(HOUR)
    assert drain(frozen) == 1


def test_a_schedule_whose_jobs_this_queue_cannot_store_stops_the_worker(url, clock):
    router = declaring("0 * * * *", payload={"text": "x" * 500})
    refused = pytest.raises(jobq.ConfigurationError, match=r"schedule 'report': .* 100 allowed")
    bounds = jobq.Bounds(payload=100)
    with jobq.Queue(url, router=router, clock=clock, bounds=bounds) as queue, refused:
        drain(queue)


# --- without a worker that stays ---------------------------------------------------------------

CALL = Budget(seconds=30, max_jobs=5, concurrency=1)


async def test_a_call_of_the_drive_endpoint_ticks_and_says_when_to_call_again(
    afrozen, clock, router, report
):
    router.cron("0 * * * *")(report)
    first = await drive(afrozen, CALL)
    assert (first.processed, first.next_run_at) == (0, NOON + timedelta(hours=1))
    clock.advance(HOUR)
    second = await drive(afrozen, CALL)
    assert (second.processed, second.next_run_at) == (1, NOON + timedelta(hours=2))
    await afrozen.pause_schedule("report")
    assert (await drive(afrozen, CALL)).next_run_at is None


async def test_functions_of_two_versions_do_not_take_turns(url, clock):
    old, new = declaring("0 * * * *"), declaring("30 * * * *")
    async with (
        jobq.AsyncQueue(url, router=old, clock=clock) as before,
        jobq.AsyncQueue(url, router=new, clock=clock) as after,
    ):
        for _ in range(5):
            await drive(before, CALL)
            await drive(after, CALL)
            clock.advance(HOUR / 2)
        made = (await after.list()).jobs
    assert sorted(job.metadata["tick"][11:16] for job in made) == ["12:30", "13:30"]


# --- pauses ------------------------------------------------------------------------------------


def test_a_paused_schedule_does_not_tick_and_a_resumed_one_makes_up_for_nothing(
    frozen, clock, another
):
    worker = another(declaring("0 * * * *", catch_up="all"))
    drain(worker)
    frozen.pause_schedule("report")
    assert frozen.schedules()[0].paused
    clock.advance(2.5 * HOUR)
    drain(another(declaring("0 * * * *", catch_up="all")))
    frozen.resume_schedule("report")
    frozen.resume_schedule("report")
    drain(worker)
    assert ticks(frozen) == []
    clock.advance(HOUR / 2)
    drain(worker)
    assert ticks(frozen) == ["2031-01-01T15:00:00Z"]


async def test_pausing_works_on_both_faces(afrozen, router, report):
    router.cron("0 * * * *")(report)
    await adrain(afrozen)
    await afrozen.pause_schedule("report")
    assert [info.paused for info in await afrozen.schedules()] == [True]
    await afrozen.resume_schedule("report")
    assert [info.paused for info in await afrozen.schedules()] == [False]


@pytest.mark.parametrize("verb", ["pause_schedule", "resume_schedule"])
@pytest.mark.parametrize("name", ["unknown", None, "", 5, "a\x00b"])
def test_a_schedule_that_is_not_there_cannot_be_paused(queue, verb, name):
    with pytest.raises(jobq.OptionError):
        getattr(queue, verb)(name)


def test_a_job_that_was_deleted_leaves_its_tick(frozen, clock, router, report):
    router.cron("0 * * * *")(report)
    drain(frozen)
    clock.advance(HOUR)
    drain(frozen)
    [job] = frozen.list().jobs
    frozen.delete(job.id)
    [info] = frozen.schedules()
    assert (info.last_job_id, info.last_status) == (job.id, None)


# --- a worker that stays -----------------------------------------------------------------------


async def test_a_running_worker_sleeps_until_the_next_tick(afrozen, clock, router, report):
    router.cron("0 * * * *")(report)
    ticker = Ticker(afrozen._store(), afrozen._config)
    await ticker.start()
    assert ticker._rest == LOOK_EVERY
    clock.advance(HOUR - 7)
    await ticker.round()
    assert ticker._rest == 7
    clock.advance(7)
    await ticker.round()
    assert ticker._rest == LOOK_EVERY
    [job] = (await afrozen.list()).jobs
    assert job.metadata["tick"] == "2031-01-01T13:00:00Z"


async def test_a_running_worker_runs_the_jobs_of_its_ticks(aqueue, router):
    seen: asyncio.Queue[str] = asyncio.Queue()

    @router.cron("* * * * * *", tz="Europe/Berlin")
    @router.handler("pulse")
    async def pulse(payload: dict, job: jobq.JobContext) -> None:
        seen.put_nowait(job.metadata["tick"])

    async with jobq.Worker(aqueue).running():
        first, second = await seen.get(), await seen.get()
    assert first < second


async def test_a_tick_that_another_worker_is_at_is_looked_at_again(postgres, clock, router, report):
    router.cron("0 * * * *")(report)
    async with jobq.AsyncQueue(postgres, router=router, clock=clock) as queue:
        ticker = Ticker(queue._store(), queue._config)
        await ticker.start()
        clock.advance(HOUR)
        with psycopg.connect(postgres) as other:
            other.execute("SELECT 1 FROM jobq_schedule FOR UPDATE")
            await ticker.round()
            assert (await queue.list()).jobs == ()
            assert 0 < ticker._rest <= AGAIN
        await ticker.round()
        assert len((await queue.list()).jobs) == 1


def test_an_observer_hears_of_the_jobs_of_ticks(url, clock):
    heard = []

    class Hears(jobq.Observer):
        def job_enqueued(self, job: jobq.Job) -> None:
            heard.append(job.metadata["tick"])

    router = declaring("0 * * * *")
    with jobq.Queue(url, router=router, clock=clock, observers=[Hears()]) as queue:
        drain(queue)
        clock.advance(HOUR)
        drain(queue)
    assert heard == ["2031-01-01T13:00:00Z"]
