"""Between a claim and its start: permits that are too late, pauses, shutdown; and tidying up."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from attrs import evolve

import jobq
from jobq import RateLimit, backends
from jobq._limits.declared import to_spec
from jobq._payload import dumps
from jobq._worker import claimer
from jobq.backends._statement import Statement
from jobq.backends.ops import admission
from jobq.backends.ops.claim import take_picked, taken_picked
from jobq.backends.ops.heads import heads_of
from jobq.testing import FrozenClock, drain
from tests.conformance.situations import sql

SLOW = RateLimit("p", 60_000, per=60, max_cost=10)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first start that is granted comes too late; the ids of those."""
    starts, missed = claimer._starts, []

    def granted(grant: Any, config: Any) -> Any:
        found = starts(grant, config)
        if not missed:
            missed.extend(found)
            past = time.monotonic() - 0.001
            return {id: evolve(start, not_after=past) for id, start in found.items()}
        return found

    monkeypatch.setattr(claimer, "_starts", granted)
    return missed


async def test_a_job_that_an_apps_transaction_holds_keeps_no_other_of_its_limit_waiting(
    postgres: str, router: jobq.Router
) -> None:
    done: list[int] = []

    @router.handler("t", limits=[SLOW])
    async def handle(payload: dict) -> None:
        done.append(payload["n"])

    async with jobq.AsyncQueue(postgres, router=router) as queue:
        for n in range(3):
            await queue.enqueue(handle, {"n": n}, unique_key=f"{n}")
        async with await psycopg.AsyncConnection.connect(postgres) as app:
            await queue.enqueue(handle, {"n": 0}, unique_key="0", connection=app)
            async with asyncio.timeout(20):
                assert await jobq.Worker(queue).run_once() == 2
        assert await jobq.Worker(queue).run_once() == 1
    assert done == [1, 2, 0]


def test_a_call_of_many_jobs_that_waits_too_long_for_a_thread_is_not_made(
    sqlite: str, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts, until = claimer._starts, []

    def granted(grant: Any, config: Any) -> Any:
        found = starts(grant, config)
        if not until:
            until.append(time.monotonic() + 0.3)
            return {id: evolve(start, not_after=until[0]) for id, start in found.items()}
        return found

    monkeypatch.setattr(claimer, "_starts", granted)
    entered: list[float] = []

    @router.handler("other")
    def other() -> None:
        while not until or time.monotonic() <= until[0]:
            time.sleep(0.001)

    @router.handler("calls", batch=2, limits=[SLOW])
    def calls(payloads: list[dict]) -> None:
        entered.append(time.monotonic())

    with jobq.Queue(sqlite, router=router) as queue:
        queue.enqueue(other, priority="urgent")
        jobs = [queue.enqueue(calls, {}).id for _ in range(2)]
        asyncio.run(jobq.Worker(queue, concurrency=3, threads=1).run_once())
        assert len(entered) == 1
        assert [queue.get(id).released_count for id in jobs] == [1, 1]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_start_that_would_be_too_late_is_not_made_and_the_attempt_given_back(
    queue: jobq.Queue, router: jobq.Router, late: list[str], is_async: bool
) -> None:
    entered: list[str] = []

    async def coroutine(payload: None, job: jobq.JobContext) -> None:
        entered.append(job.id)

    def thread(payload: None, job: jobq.SyncJobContext) -> None:
        entered.append(job.id)

    register = router.handler("t", limits=[SLOW])
    handler: Any = register(coroutine) if is_async else register(thread)
    id = queue.enqueue(handler).id
    assert drain(queue, max_jobs=1) == 1  # what was not run does not count
    assert late == entered == [id]
    job = queue.get(id)
    assert (job.status, job.attempts, job.released_count) == ("completed", 1, 1)
    first, second = queue.history(id)
    assert (first.outcome, second.outcome) == ("released", "completed")
    assert "too late for its limits" in (first.error or "")


def test_a_start_that_is_not_made_uses_no_unit_of_a_day(
    queue: jobq.Queue, router: jobq.Router, late: list[str]
) -> None:
    quota = jobq.DailyQuota("day", 2)
    router.handler("t", limits=[SLOW, quota])(lambda payload: None)
    first, second = (queue.enqueue("t").id for _ in range(2))
    assert drain(queue) == 2
    assert late
    assert [queue.get(id).status for id in (first, second)] == ["completed"] * 2
    [day] = [info for info in queue.limits() if info.key == "day"]
    assert day.used == 2


def test_statements_are_compiled_before_time_counts_for_a_start(
    queue: jobq.Queue, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, asked = [0.0], []
    starts, compiles = claimer._starts, Statement._compile

    def granted(grant: Any, config: Any) -> Any:
        asked.append((grant.asked_at, compiled[-1]))
        return starts(grant, config)

    def compiling(statement: Statement, *args: Any) -> Any:
        try:
            return compiles(statement, *args)
        finally:
            compiled.append(time.monotonic())

    for one in (heads_of, admission._take, take_picked, taken_picked):
        monkeypatch.setattr(one, "_compiled", {})
    monkeypatch.setattr(claimer, "_starts", granted)
    monkeypatch.setattr(Statement, "_compile", compiling)
    router.handler("t", limits=[SLOW])(lambda payload: None)
    queue.enqueue("t")
    assert drain(queue) == 1
    [(asked_at, last_compiled)] = asked
    assert 0.0 < last_compiled < asked_at


async def test_a_start_that_is_granted_ahead_waits_for_its_time(
    aqueue: jobq.AsyncQueue, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts, done = claimer._starts, asyncio.Event()
    not_before: dict[str, float] = {}
    entered: dict[str, float] = {}

    def granted(grant: Any, config: Any) -> Any:
        found = starts(grant, config)
        not_before.update({id: start.not_before for id, start in found.items()})
        return found

    @router.handler("t", limits=[RateLimit("p", 1200, per=60)])
    async def handle(job: jobq.JobContext) -> None:
        entered[job.id] = time.monotonic()
        if len(entered) == 10:
            done.set()

    monkeypatch.setattr(claimer, "_starts", granted)
    await aqueue.enqueue_many((handle, None) for _ in range(10))
    async with jobq.Worker(aqueue).running():
        await done.wait()
    assert {id for id, at in entered.items() if at < not_before[id] - 0.001} == set()


async def test_starts_that_were_granted_ahead_yield_to_a_refusal(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    refused, calls = asyncio.Event(), 0

    @router.handler("t", limits=[RateLimit("p", 600, per=60)])
    async def handler() -> None:
        nonlocal calls
        calls += 1
        refused.set()
        raise jobq.RateLimited(3600)

    await aqueue.enqueue_many((handler, None) for _ in range(8))
    async with jobq.Worker(aqueue, concurrency=20).running():
        await refused.wait()
        async with asyncio.timeout(20):
            while (await aqueue.counts())["processing"]:
                await asyncio.sleep(0.01)
    assert calls == 1
    counts = await aqueue.counts()
    assert (counts["rate_limited"], counts["pending"]) == (1, 7)
    attempts = [job.attempts for job in (await aqueue.list()).jobs]
    assert attempts == [0] * 8


async def test_at_shutdown_a_start_that_is_still_to_come_is_given_back_at_once(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    started = asyncio.Event()

    @router.handler("t", limits=[RateLimit("p", 70, per=60)])
    async def handler() -> None:
        started.set()

    await aqueue.enqueue_many((handler, None) for _ in range(3))
    async with jobq.Worker(aqueue, concurrency=10, grace=60.0).running():
        await started.wait()
        async with asyncio.timeout(20):
            while not (await aqueue.counts())["completed"]:
                await asyncio.sleep(0.01)
    counts = await aqueue.counts()
    assert (counts["completed"], counts["pending"], counts["processing"]) == (1, 2, 0)


def test_without_a_limit_a_refused_job_waits_by_itself(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    refusals = [30]

    @router.handler("t")
    async def handler() -> None:
        if refusals:
            raise jobq.RateLimited(refusals.pop())

    id = frozen.enqueue(handler).id
    drain(frozen)
    job = frozen.get(id)
    assert (job.status, job.attempts) == ("rate_limited", 0)
    assert job.retry_at is not None
    # Up to a tenth longer, lest all that were refused come back together.
    assert 30 <= (job.retry_at - clock.time).total_seconds() <= 33
    clock.set(job.retry_at)
    assert drain(frozen) == 1
    assert frozen.get(id).status == "completed"


class TooManyRequests(Exception):
    status_code = 429

    def __init__(self, wait: str) -> None:
        self.headers = {"retry-after": wait}


def test_what_an_sdk_raises_is_understood(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    refusals = ["12"]

    @router.handler("t", limits=[RateLimit("p", 600, per=60)])
    async def handler() -> None:
        if refusals:
            raise TooManyRequests(refusals.pop())

    id = frozen.enqueue(handler).id
    drain(frozen)
    job = frozen.get(id)
    assert (job.status, job.attempts, job.error_code) == ("rate_limited", 0, "http_429")
    [info] = frozen.limits()
    assert info.blocked_until == clock.time + timedelta(seconds=12)
    assert info.reason == "http_429"


def test_an_idle_row_is_dropped_and_a_missing_one_is_a_full_bucket(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    @router.handler("t", limits=[RateLimit("tenant:{owner}", 1, per=60)])
    async def handler() -> None: ...

    frozen.enqueue(handler, owner="a")
    drain(frozen)
    store = frozen._store()
    assert store.run(backends.ops.prune_limits) == []
    clock.advance(timedelta(days=3))
    assert store.run(backends.ops.prune_limits) == ["tenant:a"]
    assert sql(frozen, "SELECT count(*) FROM jobq_lane") == [(0,)]
    frozen.enqueue(handler, owner="a")
    assert drain(frozen) == 1


def test_a_worker_warns_where_its_slots_cannot_use_a_rate(
    frozen: jobq.Queue,
    router: jobq.Router,
    clock: FrozenClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @router.handler("t", limits=[RateLimit("p", 60, per=60)])
    async def handler() -> None:
        clock.advance(12)

    frozen.enqueue_many((handler, None) for _ in range(6))
    with caplog.at_level(logging.WARNING, "jobq"):
        drain(frozen, with_scheduled=True)
        assert "slots" not in caplog.text
        drain(frozen)
    assert "t jobs take 12 s" in caplog.text
    assert "that needs 12 slots, and there are 1" in caplog.text


def test_a_start_ahead_takes_at_most_half_of_the_free_slots(
    queue: jobq.Queue, router: jobq.Router
) -> None:
    @router.handler("t", limits=[RateLimit("p", 6000, per=60)])
    async def handler() -> None: ...

    queue.enqueue_many((handler, None) for _ in range(50))
    store = queue._store()
    spec = dumps(to_spec(RateLimit("p", 6000, per=60)))
    store.run(backends.ops.declare_limits, {"p": spec}, worker="w")
    ready = store.run(backends.ops.ready)
    request = backends.ops.Request(
        lanes=ready.lanes,
        slots=20,
        ahead=10,
        look_ahead=1_000_000,
        worker="w",
        lease=30_000_000,
        margin=10_000_000,
        keep=None,
        pools={},
        rivals=([], []),
    )
    grant = store.run(backends.ops.claim_limited, request)
    assert len(grant.jobs) == 11
    assert sum(permit.start > grant.now for _, permit in grant.jobs) == 10
    assert all(permit.start <= grant.now + 1_000_000 for _, permit in grant.jobs)
