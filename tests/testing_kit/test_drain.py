"""`drain`: a worker for one round, under a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

import jobq
from jobq import backends
from jobq._clock import SECOND
from jobq.testing import FrozenClock, adrain, drain


@pytest.fixture
def ran(router: jobq.Router) -> list[object]:
    """The payloads of the jobs of type `note`, in the order in which they were run."""
    notes: list[object] = []

    @router.handler("note")
    def note(payload: dict) -> None:
        notes.append(payload["n"])

    return notes


def test_drain_runs_everything_that_is_due_and_counts_it(queue, ran):
    queue.enqueue_many(("note", {"n": n}) for n in range(5))
    assert drain(queue) == 5
    assert ran == [0, 1, 2, 3, 4]
    assert queue.counts()["completed"] == 5
    assert drain(queue) == 0


def test_one_at_a_time_the_urgent_come_first(queue, ran):
    for n, priority in enumerate(("batch", "normal", "urgent")):
        queue.enqueue("note", {"n": n}, priority=priority)
    assert drain(queue) == 3
    assert ran == [2, 1, 0]


def test_drain_takes_the_asynchronous_face_too(queue, ran):
    queue.enqueue("note", {"n": 1})
    assert drain(queue.aio) == 1
    assert ran == [1]


async def test_adrain_runs_in_the_loop_of_the_test(aqueue, router):
    here = asyncio.get_running_loop()
    loops = []

    @router.handler("where")
    async def where(payload: dict) -> None:
        loops.append(asyncio.get_running_loop())

    await aqueue.enqueue(where, {})
    assert await adrain(aqueue) == 1
    assert loops == [here]


async def test_drain_in_an_event_loop_points_to_its_twin(queue, ran):
    with pytest.raises(RuntimeError, match=r"use `await adrain"):
        drain(queue)


def test_jobs_that_handlers_enqueue_are_run_too(queue, router):
    @router.handler("countdown")
    def countdown(payload: dict) -> None:
        if payload["n"]:
            queue.enqueue(countdown, {"n": payload["n"] - 1})

    queue.enqueue(countdown, {"n": 3})
    assert drain(queue) == 4


def test_max_jobs_bounds_what_would_never_end(queue, router):
    @router.handler("again")
    def again(payload: dict) -> None:
        queue.enqueue(again, {})

    queue.enqueue(again, {})
    assert drain(queue, max_jobs=7) == 7
    assert drain(queue, max_jobs=0) == 0
    assert queue.counts()["pending"] == 1


def test_a_job_enqueued_before_its_handler_was_known_is_run(queue, router, ran):
    other = jobq.Queue(queue._config.url, router=jobq.Router(), clock=queue._config.clock)
    with other:
        job = other.enqueue("note", {"n": 1})
    assert not job.declared
    assert drain(queue) == 1
    assert ran == [1]


def test_a_job_of_an_unknown_type_stays(queue, ran):
    job = queue.enqueue("unheard_of", {})
    assert drain(queue) == 0
    assert queue.get(job.id).status == "pending"


def test_a_scheduled_job_waits_for_the_clock(queue, ran, clock):
    queue.enqueue("note", {"n": 1}, delay=60)
    clock.advance(59.999999)
    assert drain(queue) == 0
    clock.advance(timedelta(microseconds=1))
    assert drain(queue) == 1


def test_a_retry_waits_for_its_backoff_and_not_a_microsecond_longer(queue, router, clock):
    @router.handler("flaky", retry=jobq.Retry(max_attempts=3, backoff=jobq.Fixed(30)))
    def flaky(payload: dict, job: jobq.SyncJobContext) -> int:
        if job.attempt < 3:
            raise ConnectionError("not yet")
        return job.attempt

    job = queue.enqueue(flaky, {})
    assert drain(queue) == 1
    assert queue.get(job.id).retry_at == clock.time + timedelta(seconds=30)
    assert drain(queue) == 0
    clock.advance(30)
    assert drain(queue) == 1
    clock.advance(30)
    assert drain(queue) == 1
    assert (queue.get(job.id).status, queue.get(job.id).result) == ("completed", 3)
    attempts = [(one.outcome, one.started_at.second) for one in queue.history(job.id)]
    assert attempts == [("retried", 0), ("retried", 30), ("completed", 0)]


def test_a_retry_without_a_rest_is_run_in_the_same_round(queue, router):
    @router.handler("hopeless", retry=jobq.Retry(max_attempts=4, backoff=jobq.Fixed(0)))
    def hopeless(payload: dict) -> None:
        raise ConnectionError

    job = queue.enqueue(hopeless, {})
    assert drain(queue) == 4
    assert queue.get(job.id).status == "failed"


def test_with_scheduled_runs_to_the_end_of_all_schedules(queue, router, ran, clock):
    @router.handler("flaky", retry=jobq.Retry(max_attempts=3, backoff=jobq.Fixed(100)))
    def flaky(payload: dict) -> None:
        raise ConnectionError

    started = clock.time
    flaky_job = queue.enqueue(flaky, {})
    queue.enqueue("note", {"n": 1}, delay=150)
    queue.enqueue("unheard_of", {}, delay=500)
    assert drain(queue, with_scheduled=True) == 4
    assert queue.get(flaky_job.id).status == "failed"
    assert clock.time - started == timedelta(seconds=200)


def test_with_scheduled_stops_at_max_jobs(queue, router):
    @router.handler("poll")
    def poll(payload: dict) -> None:
        raise jobq.Snooze(10)

    job = queue.enqueue(poll, {})
    assert drain(queue, with_scheduled=True, max_jobs=5) == 5
    assert queue.get(job.id).snoozed_count == 5


def test_with_scheduled_needs_a_clock_that_it_can_move(url, router, ran):
    with (
        jobq.Queue(url, router=router) as queue,
        pytest.raises(jobq.ConfigurationError, match="clock=FrozenClock"),
    ):
        drain(queue, with_scheduled=True)


async def test_a_dead_workers_job_is_rescued_when_the_clock_has_passed_its_lease(
    aqueue, ran, clock
):
    job = await aqueue.enqueue("note", {"n": 1})
    claimed = await aqueue._store().run(
        backends.ops.claim,
        queues=["default"],
        types=["note"],
        slots=1,
        worker="dead",
        lease=30 * SECOND,
        margin=0,
    )
    assert [one.id for one in claimed] == [job.id]
    clock.advance(29.9)
    assert await adrain(aqueue) == 0
    clock.advance(0.2)
    assert await adrain(aqueue) == 1
    done = await aqueue.get(job.id)
    assert (done.status, done.attempts, done.crash_count) == ("completed", 2, 1)


def test_a_job_that_expired_is_refused_and_not_counted(queue, ran, clock):
    job = queue.enqueue("note", {"n": 1}, expires_at=clock.time + timedelta(seconds=10))
    clock.advance(11)
    assert drain(queue) == 0
    assert (queue.get(job.id).status, queue.get(job.id).error_code) == ("failed", "expired")
    assert ran == []


def test_only_the_named_queues_are_served_and_paused_ones_are_not(queue, ran):
    queue.enqueue("note", {"n": 1}, queue="images")
    queue.enqueue("note", {"n": 2}, queue="mail")
    queue.pause("mail")
    assert drain(queue, queues=["mail"]) == 0
    assert drain(queue, queues=["images"]) == 1
    queue.resume("mail")
    assert drain(queue) == 1
    assert ran == [1, 2]


def test_what_a_handler_raises_ends_up_in_its_job(queue, router):
    @router.handler("broken", retry=jobq.Retry(max_attempts=1))
    def broken(payload: dict) -> None:
        raise ZeroDivisionError("by zero")

    job = queue.enqueue(broken, {})
    assert drain(queue) == 1
    assert queue.get(job.id).error == "ZeroDivisionError: by zero"


def test_handlers_get_what_the_lifespan_yields(url, router, clock):
    states = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        states.append("opened")
        yield "a client"
        states.append("closed")

    @router.handler("use")
    async def use(payload: dict, job: jobq.JobContext) -> None:
        states.append(job.state)

    with jobq.Queue(url, router=router, clock=clock, lifespan=lifespan) as queue:
        queue.enqueue_many([(use, {}), (use, {})])
        assert drain(queue) == 2
    assert states == ["opened", "a client", "a client", "closed"]


def test_several_jobs_at_a_time_can_wait_for_each_other(queue, router):
    both = asyncio.Event()
    waiting = []

    @router.handler("meet")
    async def meet(payload: dict) -> None:
        waiting.append(payload)
        if len(waiting) == 2:
            both.set()
        await both.wait()

    queue.enqueue_many([(meet, {}), (meet, {})])
    assert drain(queue, concurrency=2) == 2


def test_a_queue_without_handlers_cannot_be_drained(queue: jobq.Queue, clock: FrozenClock):
    with pytest.raises(jobq.ConfigurationError, match="no handlers"):
        drain(queue)
