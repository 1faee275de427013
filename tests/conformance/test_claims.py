"""Who gets which job: order, types, queues, slots; and when a worker has had enough."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import product
from typing import Any

import psycopg
import pytest

import jobq
from jobq._worker.claimer import Claimer
from jobq.backends import ops
from jobq.testing import FrozenClock, adrain
from tests.conformance.situations import LEASE, MARGIN, claim, run, sql

# --- order --------------------------------------------------------------------------------------


def test_claims_go_by_priority_then_run_at_then_age_across_queues_and_types(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    for name in ("a", "b"):
        router.handler(name)(lambda payload: None)
    choices = product((0, 100, -100), (30, 20, 10), ("q1", "q2"), ("a", "b"), range(2))
    jobs = [
        frozen.enqueue(
            type, {}, priority=priority, run_at=clock.time + timedelta(seconds=s), queue=q
        )
        for priority, s, q, type, _ in choices
    ]
    clock.advance(60)
    while run(frozen, ops.promote):
        pass
    expected = [job.id for job in sorted(jobs, key=lambda j: (-j.priority, j.run_at, j.id))]
    order: list[str] = []
    for slots in (1, 2, 5, 64):
        order += [
            job.id for job in claim(frozen, types=("a", "b"), queues=("q1", "q2"), slots=slots)
        ]
    assert order == expected


async def test_a_worker_starts_jobs_in_the_order_of_their_claim(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    started: list[int] = []

    @router.handler("h")
    async def handle(payload: int) -> None:
        started.append(payload)

    priorities = [3, -2, 7, 0, 7, 3]
    for number, priority in enumerate(priorities):
        await aqueue.enqueue(handle, number, priority=priority, queue=f"q{number % 3}")
    assert await jobq.Worker(aqueue, concurrency=1).run_once() == 6
    assert [priorities[number] for number in started] == sorted(priorities, reverse=True)


def test_a_claim_takes_no_more_than_its_slots(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    frozen.enqueue_many((known, {}) for _ in range(30))
    assert [len(claim(frozen, slots=n)) for n in (1, 7, 20, 20, 5)] == [1, 7, 20, 2, 0]


def test_a_claim_takes_only_chosen_queues_and_known_types(
    frozen: jobq.Queue, router: jobq.Router
) -> None:
    for type in ("a", "b"):
        router.handler(type)(lambda payload: None)
        for queue in ("q1", "q2"):
            frozen.enqueue(type, {}, queue=queue)
    frozen.enqueue("stranger", {}, queue="q1")
    taken = claim(frozen, types=("a",), queues=("q1",), slots=10)
    assert [(job.type, job.queue) for job in taken] == [("a", "q1")]
    assert claim(frozen, types=("a",), queues=("nowhere",), slots=10) == []
    rest = claim(frozen, types=("a", "b", "stranger"), queues=("q1", "q2"), slots=10)
    assert {(job.type, job.queue) for job in rest} == {("a", "q2"), ("b", "q1"), ("b", "q2")}


def test_a_claim_tells_the_worker_all_it_needs(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    router.handler("h", timeout=60)(lambda payload: None)
    job = frozen.enqueue(
        "h", {"a": "ü"}, owner="ada", metadata={"m": 1}, expires_at=clock.time + timedelta(hours=1)
    )
    clock.advance(5)
    (claimed,) = claim(frozen, types=("h",), worker="worker-9")
    assert (claimed.id, claimed.type, claimed.queue, claimed.attempts) == (
        job.id,
        "h",
        "default",
        1,
    )
    assert (claimed.max_attempts, claimed.timeout_ms, claimed.owner) == (3, 60_000, "ada")
    assert (claimed.payload, claimed.metadata) == ('{"a":"ü"}', '{"m":1}')
    assert claimed.started_at == clock.now()
    running = frozen.get(job)
    assert (running.status, running.worker, running.attempts) == ("processing", "worker-9", 1)
    assert (running.started_at, running.lease_until) == (
        clock.time,
        clock.time + timedelta(seconds=30),
    )


async def test_a_worker_serves_the_queues_it_was_given_and_by_default_all(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    for queue in ("default", "a", "b", "c"):
        await aqueue.enqueue(known, {}, queue=queue)
    assert await jobq.Worker(aqueue, queues=["b", "c"]).run_once() == 2
    left = {job.queue for job in await aqueue.pending()}
    assert left == {"default", "a"}
    assert await jobq.Worker(aqueue).run_once() == 2


# --- competition --------------------------------------------------------------------------------


def test_no_job_is_given_to_two_claimers_in_threads(
    queue: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    queue.enqueue_many((known, {}) for _ in range(600))
    begin = threading.Barrier(6)

    def hammer(worker: int) -> list[str]:
        taken: list[str] = []
        begin.wait(30)
        while jobs := claim(queue, slots=1 + worker, worker=f"worker-{worker}"):
            taken += [job.id for job in jobs]
        return taken

    with ThreadPoolExecutor(6) as pool:
        times = Counter(id for taken in pool.map(hammer, range(6)) for id in taken)
    assert len(times) == 600
    assert set(times.values()) == {1}


async def test_no_job_is_given_to_two_claimers_with_connections_of_their_own(
    url: str, router: jobq.Router, known: jobq.Handler[dict, dict]
) -> None:
    async def hammer(worker: int) -> list[str]:
        taken: list[str] = []
        async with jobq.AsyncQueue(url, router=router) as aqueue:
            store = aqueue._store()
            while jobs := await store.run(
                ops.claim,
                queues=["default"],
                types=["work"],
                slots=1 + worker,
                worker=f"worker-{worker}",
                lease=LEASE,
                margin=MARGIN,
            ):
                taken += [job.id for job in jobs]
        return taken

    async with jobq.AsyncQueue(url, router=router) as aqueue:
        await aqueue.enqueue_many((known, {}) for _ in range(600))
    taken = await asyncio.gather(*(hammer(n) for n in range(6)))
    times = Counter(id for ids in taken for id in ids)
    assert len(times) == 600
    assert set(times.values()) == {1}


class Busy(jobq.Observer):
    """How many jobs each worker holds at a time."""

    def __init__(self) -> None:
        self.owner: dict[str, str] = {}
        self.most: Counter[str] = Counter()
        self.held: Counter[str] = Counter()

    def job_claimed(self, job_id: str, type: str, attempt: int, worker: str) -> None:
        self.owner[job_id] = worker
        self.held[worker] += 1
        self.most[worker] = max(self.most[worker], self.held[worker])

    def job_moved(self, job_id: str, type: str, transition: object, seconds: float) -> None:
        self.held[self.owner[job_id]] -= 1


async def test_two_workers_of_ten_slots_never_hold_more_than_ten_of_forty_jobs(
    url: str, router: jobq.Router
) -> None:
    busy, go_on, full = Busy(), asyncio.Event(), asyncio.Event()
    running, most = 0, 0

    @router.handler("wait")
    async def wait() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 20:
            full.set()
        await go_on.wait()
        running -= 1

    async with (
        jobq.AsyncQueue(url, router=router, observers=[busy]) as aqueue,
        jobq.AsyncQueue(url, router=router, observers=[busy]) as other,
    ):
        outcomes = await aqueue.enqueue_many((wait, None) for _ in range(40))
        async with (
            jobq.Worker(aqueue, concurrency=10).running(),
            jobq.Worker(other, concurrency=10).running(),
        ):
            await full.wait()
            counts = await aqueue.counts()
            assert (counts["processing"], counts["pending"]) == (20, 20)
            held = sql(
                aqueue.sync,
                "SELECT count(*) FROM jobq_job WHERE worker IS NOT NULL GROUP BY worker",
            )
            assert held == [(10,), (10,)]
            go_on.set()
            for outcome in outcomes:
                assert outcome.job is not None
                await aqueue.wait(outcome.job.id, timeout=30)
    assert sorted(busy.most.values()) == [10, 10]
    assert most == 20
    assert sum(busy.held.values()) == 0


# --- the end of a worker's round ----------------------------------------------------------------


async def test_run_once_runs_what_is_due_and_what_that_enqueues(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("chain")
    async def chain(payload: int) -> None:
        if payload:
            await aqueue.enqueue(chain, payload - 1, queue=f"q{payload}")

    await aqueue.enqueue(chain, 4)
    await aqueue.enqueue(chain, 0, delay=3600)
    assert await jobq.Worker(aqueue).run_once() == 5
    assert (await aqueue.counts())["pending"] == 1


async def test_an_empty_queue_is_done_at_once(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    assert await jobq.Worker(aqueue).run_once() == 0
    assert await jobq.Worker(aqueue).run(burst=True) == 0


async def test_a_burst_waits_for_retries_that_are_due_within_five_seconds(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("soon", retry=jobq.Retry(backoff=jobq.Fixed(0.05)))
    async def soon(job: jobq.JobContext) -> int:
        if job.attempt < 3:
            raise OSError
        return job.attempt

    @router.handler("late", retry=jobq.Retry(backoff=jobq.Fixed(60)))
    async def late() -> None:
        raise OSError

    first, second = await aqueue.enqueue(soon), await aqueue.enqueue(late)
    assert await jobq.Worker(aqueue).run(burst=True) == 4
    assert (await aqueue.get(first.id)).result == 3
    assert (await aqueue.get(second.id)).status == "pending"


async def test_a_burst_starts_jobs_as_their_limit_opens_while_others_run(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    together = asyncio.Barrier(8)

    often, once = jobq.RateLimit("often", 100, per=1), jobq.Retry(max_attempts=1)

    @router.handler("together", limits=[often], retry=once, timeout=20)
    async def meet() -> None:
        await together.wait()

    await aqueue.enqueue_many((meet, None) for _ in range(8))
    await jobq.Worker(aqueue, concurrency=8).run(burst=True)
    assert (await aqueue.counts())["completed"] == 8


async def test_a_burst_leaves_what_it_cannot_take(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    await aqueue.enqueue("stranger", {})
    await aqueue.enqueue(known, {}, queue="paused")
    await aqueue.enqueue(known, {}, queue="paused", delay=1)
    await aqueue.enqueue(known, {}, queue="elsewhere", delay=1)
    await aqueue.pause("paused")
    assert await jobq.Worker(aqueue, queues=["default", "paused"]).run(burst=True) == 0


async def test_a_due_job_whose_row_somebody_holds_is_looked_at_less_and_less_often(
    postgres: str, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    survey = Claimer._survey

    async def counted(self: Claimer) -> Any:
        nonlocal looks
        looks += 1
        return await survey(self)

    monkeypatch.setattr(Claimer, "_survey", counted)

    @router.handler("h")
    async def handle() -> None: ...

    async with jobq.AsyncQueue(postgres, router=router) as queue:
        job = await queue.enqueue(handle, delay=3600)
        with psycopg.connect(postgres) as other:
            other.execute("UPDATE jobq_job SET run_at = now()")
            other.commit()
            other.execute("SELECT id FROM jobq_job FOR UPDATE")
            async with asyncio.timeout(20):
                assert await jobq.Worker(queue).run_once() == 0
        assert looks < 20
        assert await adrain(queue) == 1
        assert (await queue.get(job.id)).status == "completed"


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_max_jobs_is_how_many_are_run(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict], limit: int
) -> None:
    await aqueue.enqueue_many((known, {}) for _ in range(7))
    assert await jobq.Worker(aqueue, concurrency=3).run_once(max_jobs=limit) == limit
    counts = await aqueue.counts()
    assert (counts["completed"], counts["pending"]) == (limit, 7 - limit)


@pytest.mark.parametrize("burst", [True, False])
async def test_the_last_of_max_jobs_may_take_as_long_as_they_like(
    aqueue: jobq.AsyncQueue, router: jobq.Router, burst: bool
) -> None:
    @router.handler("long")
    async def long(payload: int) -> None:
        for _ in range(20):
            await aqueue.counts()

    await aqueue.enqueue_many((long, n) for n in range(3))
    assert await jobq.Worker(aqueue, grace=0).run(burst=burst, max_jobs=2) == 2
    counts = await aqueue.counts()
    assert (counts["completed"], counts["pending"]) == (2, 1)


async def test_max_jobs_ends_a_worker_that_would_run_for_ever(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    await aqueue.enqueue_many((known, {}) for _ in range(5))
    assert await jobq.Worker(aqueue).run(max_jobs=3) == 3
    assert (await aqueue.counts())["pending"] == 2


async def test_a_run_of_no_seconds_ends_at_once_and_of_less_than_none_is_refused(
    sqlite: str, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle() -> None: ...

    async with jobq.AsyncQueue(sqlite, router=router) as queue:
        worker = jobq.Worker(queue)
        async with asyncio.timeout(20):
            await worker.run(max_seconds=0)
            for wrong in ({"max_seconds": -1}, {"max_seconds": float("nan")}, {"max_jobs": -1}):
                with pytest.raises(
                    jobq.ConfigurationError, match=r"Worker\(max_\w+=(-1|nan)\) must"
                ):
                    await worker.run(**wrong)  # type: ignore[arg-type]


async def test_max_seconds_ends_a_worker_and_loses_nothing(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("endless")
    async def endless(payload: int) -> None:
        await aqueue.enqueue(endless, payload + 1)

    await aqueue.enqueue_many((endless, 0) for _ in range(3))
    ran = await jobq.Worker(aqueue, concurrency=2).run_once(max_seconds=0.2)
    counts = await aqueue.counts()
    assert counts["completed"] == ran
    assert (counts["processing"], counts["pending"], counts["failed"]) == (0, 3, 0)
    assert sql(aqueue.sync, "SELECT count(*) FROM jobq_job WHERE crash_count > 0") == [(0,)]


async def test_a_worker_may_run_again(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    worker = jobq.Worker(aqueue)
    for _ in range(3):
        await aqueue.enqueue(known, {})
        assert await worker.run_once() == 1


# --- wake-ups within the process ----------------------------------------------------------------


@pytest.mark.parametrize("face", ["sync", "async"])
async def test_a_job_enqueued_in_the_process_of_an_idle_worker_starts_without_polling(
    aqueue: jobq.AsyncQueue, router: jobq.Router, face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: asyncio.Queue[str] = asyncio.Queue()

    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        started.put_nowait(job.id)

    enqueue: Callable[[], jobq.Job] = lambda: aqueue.sync.enqueue(handle)  # noqa: E731
    monkeypatch.setattr(type(aqueue._config.backend), "fallback_poll", 3600.0)
    async with jobq.Worker(aqueue).running():
        for _ in range(5):
            if face == "sync":
                job = await asyncio.to_thread(enqueue)
            else:
                job = await aqueue.enqueue(handle)
            assert await started.get() == job.id


@pytest.mark.parametrize("limits", [(), (jobq.RateLimit("provider", 1_000, per=1),)])
async def test_a_claimed_job_begins_before_the_worker_looks_what_else_there_is(
    aqueue: jobq.AsyncQueue,
    router: jobq.Router,
    monkeypatch: pytest.MonkeyPatch,
    limits: tuple[jobq.RateLimit, ...],
) -> None:
    order: list[str] = []
    survey = Claimer._survey

    async def noted(self: Claimer) -> Any:
        order.append("survey")
        return await survey(self)

    @router.handler("first", limits=limits)
    async def first() -> None:
        order.append("began")

    await aqueue.enqueue(first)
    await jobq.Worker(aqueue).run(burst=True)  # which makes the row of the limit
    await aqueue.enqueue(first)
    order.clear()
    monkeypatch.setattr(Claimer, "_survey", noted)
    await jobq.Worker(aqueue).run(burst=True)
    began = order.index("began")
    assert order[:began] == (["survey"] if limits else [])  # one, to know of limited jobs


async def test_an_idle_worker_wakes_for_a_job_that_becomes_due(
    aqueue: jobq.AsyncQueue, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()

    @router.handler("h")
    async def handle() -> None:
        started.set()

    monkeypatch.setattr(type(aqueue._config.backend), "fallback_poll", 3600.0)
    async with jobq.Worker(aqueue).running():
        await aqueue.enqueue(handle, delay=0.1)
        await started.wait()


async def test_an_idle_worker_wakes_when_a_pause_ends(
    aqueue: jobq.AsyncQueue, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()

    @router.handler("h")
    async def handle() -> None:
        started.set()

    monkeypatch.setattr(type(aqueue._config.backend), "fallback_poll", 3600.0)
    await aqueue.pause()
    await aqueue.enqueue(handle)
    async with jobq.Worker(aqueue).running():
        while not await aqueue.workers():
            await asyncio.sleep(0)
        assert not started.is_set()
        await aqueue.resume()
        await started.wait()


def test_what_comes_in_behind_the_others_is_taken_too(url: str) -> None:
    router = jobq.Router()
    queue = jobq.Queue(url, router=router)
    done = Counter[str]()

    @router.handler("work")
    async def work(payload: dict[str, int]) -> None:
        done["work"] += 1
        if payload.get("n") == 100:
            earlier = datetime.now(UTC) - timedelta(hours=1)
            await queue.aio.enqueue("work", {}, run_at=earlier)
            await queue.aio.enqueue("work", {}, priority=-7)

    async def burst() -> None:
        async with queue.aio:
            await jobq.Worker(queue, concurrency=4).run(burst=True)

    with queue:
        queue.migrate()
        queue.enqueue_many((work, {"n": n}) for n in range(300))
        asyncio.run(burst())
        assert queue.counts()["completed"] == done["work"] == 302


# --- before the first ---------------------------------------------------------------------------


async def test_a_worker_has_compiled_what_it_runs_before_there_is_a_job(
    aqueue: jobq.AsyncQueue, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes some milliseconds, which the first jobs would wait for."""
    router.handler("work")(lambda payload: None)
    hot = [
        statement
        for module in ("claim", "finish")
        for name, statement in vars(import_module(f"jobq.backends.ops.{module}")).items()
        if name in ("_claim", "_complete_all", "_record_completed")
    ]
    for statement in hot:
        monkeypatch.setattr(statement, "_compiled", {})
    async with jobq.Worker(aqueue).running():
        while not await aqueue.workers():
            await asyncio.sleep(0.01)
        at_hand = [set(statement._compiled) for statement in hot]
        for _ in range(3):
            await aqueue.wait((await aqueue.enqueue("work", {})).id, timeout=30)
        assert [set(statement._compiled) for statement in hot] == at_hand
