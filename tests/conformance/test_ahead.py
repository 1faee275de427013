"""Short jobs are held ahead of the slots, and given back where no slot comes free."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import jobq
from jobq._worker.ahead import Ahead
from tests.conformance.situations import sql
from tests.conformance.test_claims import Busy


@pytest.fixture
def busy() -> Busy:
    return Busy()


@pytest.fixture
async def watched(url: str, router: jobq.Router, busy: Busy) -> Any:
    async with jobq.AsyncQueue(url, router=router, observers=[busy]) as aqueue:
        yield aqueue


@pytest.fixture
def always_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if short jobs had been measured, however busy this machine is."""

    def measure(self: Ahead, now: float) -> None:
        self.size = 50 if now >= self._not_before else 0

    monkeypatch.setattr(Ahead, "measure", measure)


@pytest.mark.usefixtures("always_ahead")
async def test_more_jobs_are_claimed_than_there_are_slots_but_no_more_run(
    watched: jobq.AsyncQueue, router: jobq.Router, busy: Busy
) -> None:
    running, most = 0, 0

    @router.handler("short")
    async def short() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await watched.enqueue_many((short, None) for _ in range(300))
    assert await jobq.Worker(watched, concurrency=5).run_once() == 300
    assert (await watched.counts())["completed"] == 300
    assert most == 5
    [held] = busy.most.values()
    assert 5 < held <= 55


@pytest.mark.usefixtures("always_ahead")
async def test_jobs_held_ahead_go_back_where_no_slot_comes_free_and_that_counts_for_nothing(
    watched: jobq.AsyncQueue, router: jobq.Router
) -> None:
    let_go = asyncio.Event()

    @router.handler("short")
    async def short() -> None: ...

    @router.handler("slow")
    async def slow() -> None:
        await let_go.wait()

    await watched.enqueue_many((short, None) for _ in range(20))
    slow_jobs = await watched.enqueue_many((slow, None) for _ in range(40))
    async with jobq.Worker(watched, concurrency=5).running():
        while (counts := await watched.counts())["processing"] != 5 or counts["completed"] != 20:
            await asyncio.sleep(0.02)
        waiting = await watched.list(status="pending")
        assert len(waiting.jobs) == 35
        assert {(job.attempts, job.released_count) for job in waiting.jobs} == {(0, 0)}
        let_go.set()
        for outcome in slow_jobs:
            assert outcome.job is not None
            await watched.wait(outcome.job.id, timeout=30)


@pytest.mark.usefixtures("always_ahead")
async def test_nothing_is_held_ahead_beside_a_job_whose_worker_has_died(
    watched: jobq.AsyncQueue, router: jobq.Router
) -> None:
    """It may have been the reason: what is held by then would lose an attempt, never begun."""
    beside: list[int] = []

    @router.handler("short")
    async def short() -> None: ...

    @router.handler("suspect")
    async def suspect() -> None:
        beside.append((await watched.counts())["processing"])

    await watched.enqueue_many((short, None) for _ in range(20))
    await watched.enqueue_many((suspect, None) for _ in range(40))
    await watched.enqueue_many((short, None) for _ in range(20))
    sql(
        watched.sync, "UPDATE jobq_job SET crash_count = 1, ambiguous = true WHERE type = 'suspect'"
    )
    assert await jobq.Worker(watched, concurrency=5).run_once() == 80
    assert len(beside) == 40
    assert max(beside) <= 5
    done = await watched.list(status="completed", limit=100)
    assert {(job.attempts, job.released_count) for job in done.jobs} == {(1, 0)}


@pytest.mark.usefixtures("always_ahead")
async def test_jobs_held_ahead_go_back_at_shutdown(
    watched: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun, let_go = asyncio.Event(), asyncio.Event()

    @router.handler("short")
    async def short() -> None: ...

    @router.handler("slow")
    async def slow() -> None:
        begun.set()
        await let_go.wait()

    await watched.enqueue_many((short, None) for _ in range(20))
    await watched.enqueue_many((slow, None) for _ in range(40))
    worker = jobq.Worker(watched, concurrency=1)
    async with worker.running():
        await begun.wait()
        worker.stop()
        let_go.set()
    counts = await watched.counts()
    assert counts["processing"] == 0
    assert counts["pending"] + counts["completed"] == 60
    assert counts["pending"] > 0
    assert {job.released_count for job in (await watched.list(status="pending")).jobs} == {0}


@pytest.mark.usefixtures("always_ahead")
async def test_a_cancelled_job_that_was_held_ahead_does_not_start(
    watched: jobq.AsyncQueue, router: jobq.Router
) -> None:
    started: list[int] = []

    @router.handler("cancels", retry=jobq.Retry(max_attempts=1))
    async def cancels(number: int) -> None:
        started.append(number)
        if number == 0:
            worker_slots = worker._slots
            assert worker_slots is not None
            for running in worker_slots.held:
                running.stop("cancel")

    await watched.enqueue_many([(cancels, n) for n in range(5)])
    worker = jobq.Worker(watched, concurrency=1)
    await worker.run_once()
    counts = await watched.counts()
    assert counts["completed"] + counts["cancelled"] == 5
    assert counts["completed"] == len(started)


@pytest.mark.usefixtures("always_ahead")
async def test_an_urgent_job_overtakes_those_that_are_held_ahead(
    watched: jobq.AsyncQueue, router: jobq.Router
) -> None:
    order: list[str] = []

    @router.handler("note")
    async def note(name: str) -> None:
        order.append(name)
        if name == "50":
            await watched.enqueue(note, "urgent", priority="urgent")

    await watched.enqueue_many([(note, str(n)) for n in range(3000)])
    await jobq.Worker(watched, concurrency=1).run_once()
    assert len(order) == 3001
    # It was found late where the claims began at an edge; a thousand may be held ahead of it.
    assert order.index("urgent") < 2500
