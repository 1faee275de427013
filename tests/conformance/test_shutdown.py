"""The end of a worker: nothing is lost, nothing stays leased, no attempt is used up."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import aclosing
from typing import Any

import psycopg
import pytest

import jobq
from jobq._worker import slots
from jobq._worker.services import leave
from jobq._worker.tally import Tally
from tests.conformance.situations import claim, sql


async def assert_nothing_is_leased(aqueue: jobq.AsyncQueue) -> None:
    assert (await aqueue.counts())["processing"] == 0
    held = "SELECT count(*) FROM jobq_job WHERE worker IS NOT NULL OR lease_until IS NOT NULL"
    assert sql(aqueue.sync, held) == [(0,)]
    assert sql(aqueue.sync, "SELECT count(*) FROM jobq_job WHERE crash_count > 0") == [(0,)]
    assert await aqueue.workers() == []


class Batch:
    """Seven jobs for four slots: one ends at once, one when it is told, the others never."""

    def __init__(self, aqueue: jobq.AsyncQueue, router: jobq.Router) -> None:
        self.aqueue = aqueue
        self.begun = asyncio.Semaphore(0)
        self.finish = asyncio.Event()
        self.started: list[str] = []
        self.handler: Any = router.handler("batch")(self.handle)

    async def handle(self, payload: str) -> str:
        self.started.append(payload)
        self.begun.release()
        if payload == "long":
            await self.finish.wait()
        elif payload.startswith("endless"):
            await asyncio.Event().wait()
        return payload

    async def enqueue(self) -> dict[str, jobq.Job]:
        names = ("quick", "long", "endless 1", "endless 2", "endless 3", "waiting 1", "waiting 2")
        return {name: await self.aqueue.enqueue(self.handler, name) for name in names}

    async def all_begun(self) -> None:
        for _ in range(5):
            await self.begun.acquire()


async def test_a_worker_that_is_stopped_finishes_what_it_can_and_gives_the_rest_back(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    batch = Batch(aqueue, router)
    jobs = await batch.enqueue()
    worker = jobq.Worker(aqueue, concurrency=4, grace=3600)
    running = asyncio.create_task(worker.run())
    await batch.all_begun()
    worker.stop()
    batch.finish.set()
    await aqueue.wait(jobs["long"].id, timeout=30)
    worker.stop(at_once=True)
    assert await running == 5
    found = {name: await aqueue.get(job.id) for name, job in jobs.items()}
    assert {name: str(job.status) for name, job in found.items()} == {
        "quick": "completed",
        "long": "completed",
        **dict.fromkeys(("endless 1", "endless 2", "endless 3"), "pending"),
        **dict.fromkeys(("waiting 1", "waiting 2"), "pending"),
    }
    for name in ("endless 1", "endless 2", "endless 3"):
        assert (found[name].attempts, found[name].released_count) == (0, 1)
        (attempt,) = await aqueue.history(jobs[name].id)
        assert (attempt.number, attempt.outcome) == (1, "released")
    for name in ("waiting 1", "waiting 2"):
        assert (found[name].attempts, found[name].released_count) == (0, 0)
    assert batch.started == ["quick", "long", "endless 1", "endless 2", "endless 3"]
    await assert_nothing_is_leased(aqueue)


async def test_a_released_job_is_due_at_once_and_runs_elsewhere(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun = asyncio.Event()

    @router.handler("h", retry=jobq.Retry(max_attempts=1))
    async def handle(job: jobq.JobContext) -> int:
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        return job.attempt

    job = await aqueue.enqueue(handle)
    async with jobq.Worker(aqueue, grace=0).running():
        await begun.wait()
    assert (await aqueue.get(job.id)).status == "pending"
    assert await jobq.Worker(aqueue).run_once() == 1
    done = await aqueue.get(job.id)
    assert (done.status, done.result, done.attempts, done.released_count) == ("completed", 1, 1, 1)


async def test_a_second_stop_ends_the_grace_at_once(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun = asyncio.Event()

    @router.handler("h")
    async def handle() -> None:
        begun.set()
        await asyncio.Event().wait()

    job = await aqueue.enqueue(handle)
    worker = jobq.Worker(aqueue, grace=3600)
    running = asyncio.create_task(worker.run())
    await begun.wait()
    worker.stop()
    worker.stop(at_once=True)
    assert await running == 1
    assert (await aqueue.get(job.id)).released_count == 1
    await assert_nothing_is_leased(aqueue)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_stop_a_worker_gracefully_and_then_at_once(
    aqueue: jobq.AsyncQueue, router: jobq.Router, number: signal.Signals
) -> None:
    begun, asked = asyncio.Event(), asyncio.Event()

    @router.handler("h")
    async def handle(payload: str) -> None:
        begun.set()
        if payload == "long":
            await asked.wait()
        else:
            await asyncio.Event().wait()

    long, endless = await aqueue.enqueue(handle, "long"), await aqueue.enqueue(handle, "endless")
    running = asyncio.create_task(jobq.Worker(aqueue, grace=3600).run())
    await begun.wait()
    os.kill(os.getpid(), number)
    asked.set()
    assert (await aqueue.wait(long.id, timeout=30)).status == "completed"
    os.kill(os.getpid(), number)
    assert await running == 2
    assert (await aqueue.get(endless.id)).released_count == 1
    await assert_nothing_is_leased(aqueue)


async def test_a_handler_may_clean_up_when_its_worker_stops(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await job.progress(50, "stopped half way")
            await asyncio.sleep(0)
            cleaned.set()

    job = await aqueue.enqueue(handle)
    async with jobq.Worker(aqueue, grace=0).running():
        await begun.wait()
    assert cleaned.is_set()
    assert (await aqueue.get(job.id)).released_count == 1


async def test_a_job_that_ends_in_its_grace_is_completed(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @router.handler("h")
    async def handle() -> str:
        begun.set()
        await go_on.wait()
        return "done"

    job = await aqueue.enqueue(handle)
    async with jobq.Worker(aqueue, grace=30).running() as worker:
        await begun.wait()
        worker.stop()
        go_on.set()
    done = await aqueue.get(job.id)
    assert (done.status, done.result, done.released_count) == ("completed", "done", 0)


async def test_a_thread_that_looks_is_given_back_when_it_stops(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun = threading.Event()

    @router.handler("h")
    def handle(job: jobq.SyncJobContext) -> None:
        begun.set()
        while not job.cancelled:
            threading.Event().wait(0.001)
        job.check()

    job = await aqueue.enqueue(handle)
    async with jobq.Worker(aqueue, grace=0).running():
        await asyncio.to_thread(begun.wait, 30)
    back = await aqueue.get(job.id)
    assert (back.status, back.attempts, back.released_count) == ("pending", 0, 1)
    await assert_nothing_is_leased(aqueue)


async def test_a_thread_that_does_not_stop_is_given_back_all_the_same(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun, let_go = threading.Event(), threading.Event()

    @router.handler("h")
    def handle() -> str:
        begun.set()
        let_go.wait(30)
        return "too late"

    job = await aqueue.enqueue(handle)
    async with jobq.Worker(aqueue, grace=0).running():
        await asyncio.to_thread(begun.wait, 30)
    back = await aqueue.get(job.id)
    assert (back.status, back.attempts, back.released_count) == ("pending", 0, 1)
    await assert_nothing_is_leased(aqueue)
    let_go.set()


async def test_a_job_that_waits_for_a_thread_is_given_back_unstarted(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun, let_go = threading.Event(), threading.Event()
    started: list[str] = []

    @router.handler("h")
    def handle(job: jobq.SyncJobContext) -> None:
        started.append(job.id)
        begun.set()
        let_go.wait(30)

    first, second = await aqueue.enqueue(handle), await aqueue.enqueue(handle)
    async with jobq.Worker(aqueue, concurrency=2, threads=1, grace=0.2).running() as worker:
        await asyncio.to_thread(begun.wait, 30)
        while (await aqueue.counts())["processing"] < 2:
            await asyncio.sleep(0)
        worker.stop()
        while (await aqueue.get(second.id)).status == "processing":
            await asyncio.sleep(0)
        let_go.set()
    assert started == [first.id]
    assert (await aqueue.get(second.id)).released_count == 1
    await assert_nothing_is_leased(aqueue)


async def test_what_could_not_be_written_until_the_last_moment_is_not_given_back_as_undone(
    postgres: str, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "FLUSH", 0.1)
    entered, answered = asyncio.Event(), asyncio.Event()

    @router.handler("pay", on_ambiguous="fail")
    async def pay() -> str:
        entered.set()
        await answered.wait()
        return "paid"

    with psycopg.connect(postgres) as other:

        class Late(jobq.Worker):
            """The database answers again just before it leaves."""

            async def _leave(self, *args: Any) -> None:
                other.rollback()
                await super()._leave(*args)

        async with jobq.AsyncQueue(postgres, router=router) as queue:
            job = await queue.enqueue(pay)
            async with Late(queue, grace=0.1).running():
                await entered.wait()
                other.execute("SELECT id FROM jobq_job FOR UPDATE")
                answered.set()
            done = await queue.get(job.id)
            assert (done.status, done.result, done.released_count) == ("completed", "paid", 0)
            await assert_nothing_is_leased(queue)


async def test_a_worker_that_leaves_gives_back_all_that_it_has_claimed(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    await aqueue.enqueue_many((known, {}) for _ in range(501))
    assert len(claim(queue, slots=600, worker="w")) == 501
    async with aclosing(queue._config.async_store()) as store:
        assert await leave(store, "w", label="w", tally=Tally(), keep=None)
    await assert_nothing_is_leased(aqueue)


async def test_a_worker_inside_an_app_ends_with_the_app(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun = asyncio.Event()

    @router.handler("h")
    async def handle() -> None:
        begun.set()
        await asyncio.Event().wait()

    job = await aqueue.enqueue(handle)

    async def app() -> None:
        async with jobq.Worker(aqueue, grace=0).running():
            await begun.wait()
            raise RuntimeError("the app fails")

    with pytest.raises(RuntimeError, match="the app fails"):
        await app()
    assert (await aqueue.get(job.id)).released_count == 1
    await assert_nothing_is_leased(aqueue)


async def test_a_worker_whose_task_is_cancelled_gives_its_jobs_back(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun = asyncio.Event()

    @router.handler("h")
    async def handle() -> None:
        begun.set()
        await asyncio.Event().wait()

    job = await aqueue.enqueue(handle)
    running = asyncio.create_task(jobq.Worker(aqueue, grace=3600).run())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    back = await aqueue.get(job.id)
    assert (back.status, back.attempts, back.released_count) == ("pending", 0, 1)
    await assert_nothing_is_leased(aqueue)


async def test_a_worker_that_is_stopped_before_it_runs_claims_nothing(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    job = await aqueue.enqueue(known, {})
    worker = jobq.Worker(aqueue)
    worker.stop()
    assert await worker.run() == 0
    assert await aqueue.get(job.id) == job


async def test_a_worker_may_be_stopped_from_another_thread(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    worker = jobq.Worker(aqueue)
    running = asyncio.create_task(worker.run())
    while not await aqueue.workers():
        await asyncio.sleep(0)
    await asyncio.to_thread(worker.stop)
    assert await running == 0


async def test_a_cancellation_that_comes_together_with_a_connection_is_not_lost(
    postgres: str, router: jobq.Router
) -> None:
    async with jobq.AsyncQueue(postgres, router=router, pool_size=1) as aqueue:
        job = await aqueue.enqueue("t", {})
        pool: Any = aqueue._store()._pool  # type: ignore[attr-defined]
        connection = await pool.getconn()
        waiting = asyncio.create_task(aqueue.get(job.id))
        while not pool.get_stats()["requests_waiting"]:
            await asyncio.sleep(0)
        await pool.putconn(connection)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await aqueue.get(job.id) == job


async def test_a_stop_during_the_first_look_at_limits_ends_the_worker(url, router):
    @router.handler("call", limits=[jobq.RateLimit("api", 60, per=60)])
    async def call() -> None: ...

    class Stops(jobq.Observer):
        def database_called(self, op: str, seconds: float, error: BaseException | None) -> None:
            if op == "survey" and worker._claimer is not None:
                worker.stop()

    async with jobq.AsyncQueue(url, router=router, observers=[Stops()]) as queue:
        worker = jobq.Worker(queue)
        async with asyncio.timeout(20):
            assert await worker.run() == 0
