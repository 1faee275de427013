"""Look jobs up: get, list, pending, counts, history, wait, queues, workers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

import jobq
from jobq import JobStatus, _steps, _verbs
from jobq._worker.upkeep import Upkeep
from jobq.backends import ops
from jobq.backends.ops import read
from jobq.observe import Observers
from jobq.testing import FrozenClock
from tests.conformance.situations import (
    COMPLETED,
    FAILED,
    RETRIED,
    claim,
    finish,
    job_in,
    run,
    sql,
)

NOON = datetime(2031, 1, 1, 12, tzinfo=UTC)


# --- by id --------------------------------------------------------------------------------------


def test_a_job_is_found_by_text_uuid_or_job(queue: jobq.Queue) -> None:
    job = queue.enqueue("t", {"a": 1})
    assert queue.get(job.id) == queue.get(UUID(job.id)) == queue.get(job) == job
    assert queue.get(job.id.upper()) == job


def test_get_many_keeps_the_order_asked_for_and_leaves_unknown_ids_out(queue: jobq.Queue) -> None:
    a, b, c = (queue.enqueue("t", {"n": n}) for n in range(3))
    gone = "0190b2a4-7c1e-7000-8000-000000000000"
    assert queue.get_many([c, gone, UUID(a.id), b.id]) == [c, a, b]
    assert queue.get_many([]) == []


def test_a_job_shows_itself_in_the_json_of_the_api(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job = frozen.enqueue(known, {}, priority="urgent")
    assert job.to_dict() == {
        "id": job.id,
        "type": "work",
        "queue": "default",
        "status": "pending",
        "priority": 100,
        "progress": 0,
        "message": None,
        "partial": None,
        "result": None,
        "error": None,
        "errorCode": None,
        "attempts": 0,
        "maxAttempts": 3,
        "createdAt": "2031-01-01T12:00:00.000Z",
        "runAt": "2031-01-01T12:00:00.000Z",
        "startedAt": None,
        "completedAt": None,
        "updatedAt": "2031-01-01T12:00:00.000Z",
        "retryAt": None,
        "waitingFor": None,
        "position": None,
        "etaSeconds": None,
        "batchId": None,
    }
    (claimed,) = claim(frozen)
    clock.advance(1.5)
    finish(frozen, claimed, RETRIED)
    again = frozen.get(job).to_dict()
    assert (again["status"], again["error"], again["attempts"]) == ("pending", "again", 1)
    assert (again["startedAt"], again["retryAt"]) == (
        "2031-01-01T12:00:00.000Z",
        "2031-01-01T12:00:01.500Z",
    )


def test_every_visible_change_raises_the_version(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    job = frozen.enqueue(known, {})
    versions = [job.version]

    def note(_: Any = None) -> None:
        versions.append(frozen.get(job).version)

    note(frozen.reschedule(job, priority=5))
    note(frozen.set_progress(job, 5))
    (claimed,) = claim(frozen)
    note()
    note(finish(frozen, claimed, FAILED))
    note(frozen.retry(job))
    note(frozen.cancel(job))
    assert versions == [*range(1, 8)]


def _moment(queue: jobq.Queue, name: str) -> str:
    """An instant that no datetime can be, as SQL written by hand may store it."""
    if queue._config.backend.name == "postgresql":
        return f"'{name}'"
    return str({"-": -(2**62), "i": 2**62}.get(name[0], 2**60))


FARTHEST = datetime.max.replace(tzinfo=UTC)
EARLIEST = datetime.min.replace(tzinfo=UTC)
BEYOND = {
    "infinity": FARTHEST,
    "20000-01-01 00:00+00": FARTHEST,
    "294276-12-31 00:00+00": FARTHEST,
    "-infinity": EARLIEST,
}


@pytest.mark.parametrize("name", BEYOND)
def test_an_instant_that_no_datetime_can_be_is_read_as_the_nearest(
    queue: jobq.Queue, name: str
) -> None:
    job, other = queue.enqueue("t", {}), queue.enqueue("t", {})
    moment = _moment(queue, name)
    sql(
        queue, f"UPDATE jobq_job SET run_at = {moment}, expires_at = {moment} WHERE id = '{job.id}'"
    )
    stored = queue.get(job)
    assert (stored.run_at, stored.expires_at) == (BEYOND[name], BEYOND[name])
    assert stored.started_at is None
    assert queue.list().jobs == (queue.get(other), stored)
    assert queue.get_many([job]) == [stored]


@pytest.mark.parametrize("name", BEYOND)
async def test_workers_go_on_beside_a_job_whose_instants_no_datetime_can_be(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict], name: str
) -> None:
    queue = aqueue.sync
    job = await aqueue.enqueue(known, {}, delay=3600)
    sql(queue, f"UPDATE jobq_job SET run_at = {_moment(queue, name)}")
    other = await aqueue.enqueue(known, {})
    await jobq.Worker(aqueue).run(burst=True)
    assert (await aqueue.get(other)).status == "completed"
    due = BEYOND[name] == EARLIEST
    assert (await aqueue.get(job)).status == ("completed" if due else "pending")


# --- pages --------------------------------------------------------------------------------------


def all_pages(queue: jobq.Queue, /, **where: Any) -> list[jobq.Job]:
    page = queue.list(**where)
    jobs = [*page.jobs]
    while page.next:
        page = queue.list(**where, after=page.next)
        jobs += page.jobs
    return jobs


def test_pages_show_every_job_once_newest_first(queue: jobq.Queue) -> None:
    jobs = [queue.enqueue("t", {"n": n}) for n in range(7)]
    first = queue.list(limit=3)
    assert [*first.jobs] == jobs[:3:-1]
    second = queue.list(limit=3, after=first.next)
    third = queue.list(limit=3, after=second.next)
    assert [*second.jobs, *third.jobs] == jobs[3::-1]
    assert third.next is None


def test_a_full_last_page_has_no_next(queue: jobq.Queue) -> None:
    for _ in range(4):
        queue.enqueue("t", {})
    page = queue.list(limit=2)
    last = queue.list(limit=2, after=page.next)
    assert (len(last.jobs), last.next) == (2, None)
    assert queue.list(type="unknown") == jobq.Page(jobs=(), next=None)


def test_a_job_that_comes_between_two_pages_shifts_nothing(queue: jobq.Queue) -> None:
    jobs = [queue.enqueue("t", {}) for _ in range(4)]
    page = queue.list(limit=2)
    queue.enqueue("t", {})
    assert [*queue.list(limit=2, after=page.next).jobs] == jobs[1::-1]


FILTERS: list[dict[str, Any]] = [
    {},
    {"status": "pending"},
    {"status": ["failed", "cancelled"]},
    {"status": JobStatus.COMPLETED},
    {"type": "work"},
    {"queue": "slow"},
    {"owner": "ada"},
    {"status": "pending", "type": "other", "queue": "slow", "owner": "ada"},
    {"status": ["pending", "failed"], "queue": "default", "owner": "bob"},
]


@pytest.fixture
def mixed(queue: jobq.Queue, known: jobq.Handler[dict, dict]) -> jobq.Queue:
    """A queue with jobs of each finished status, and pending ones of all kinds."""
    for owner in ("ada", "bob"):
        for status in ("completed", "failed", "cancelled"):
            job_in(queue, status, owner=owner)
    for owner in ("ada", "bob"):
        for type in ("work", "other"):
            for name in ("default", "slow"):
                queue.enqueue(type, {}, owner=owner, queue=name)
                queue.enqueue(type, {}, queue=name)
    return queue


@pytest.mark.parametrize("where", FILTERS)
def test_filters_select_exactly_the_jobs_that_fit(mixed: jobq.Queue, where: dict) -> None:
    every = mixed.list(limit=1000).jobs
    status = where.get("status")
    statuses = {status} if isinstance(status, str) else set(status or JobStatus)
    expected = [
        job
        for job in every
        if job.status in statuses
        and all(getattr(job, name) == where[name] for name in where if name != "status")
    ]
    assert expected
    assert all_pages(mixed, **where, limit=2) == expected


def test_no_status_at_all_selects_nothing(mixed: jobq.Queue) -> None:
    assert mixed.list(status=[]).jobs == ()
    assert mixed.cancel_where(status=[]) == 0


def test_pending_shows_what_waits_to_be_run_oldest_first(
    queue: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    limited = job_in(queue, "rate_limited")
    for status in ("processing", "waiting", "completed", "failed", "cancelled"):
        job_in(queue, status)
    future = queue.enqueue(known, {}, delay=60, owner="ada")
    urgent = queue.enqueue(known, {}, priority="urgent", queue="fast")
    stranger = queue.enqueue("stranger", {})
    assert queue.pending() == [limited, future, urgent, stranger]
    assert queue.pending(limit=2) == [limited, future]
    assert queue.pending(type="stranger") == [stranger]
    assert queue.pending(queue="fast") == [urgent]
    assert queue.pending(owner="ada") == [future]


# --- counts -------------------------------------------------------------------------------------


def test_counts_tell_how_many_jobs_are_in_each_status(mixed: jobq.Queue) -> None:
    counts = mixed.counts()
    assert counts.by_status == {
        "pending": 16,
        "processing": 0,
        "rate_limited": 0,
        "waiting": 0,
        "completed": 2,
        "failed": 2,
        "cancelled": 2,
    }
    assert counts["pending"] == counts[JobStatus.PENDING] == 16
    assert mixed.counts(type="work")["pending"] == 8
    assert mixed.counts(queue="slow")["pending"] == 8
    assert mixed.counts(owner="ada")["pending"] == 4
    assert mixed.counts(owner="ada", type="other", queue="slow")["pending"] == 1
    assert mixed.counts(owner="ada")["failed"] == 1


def test_counts_stop_at_their_cap(queue: jobq.Queue) -> None:
    queue.enqueue_many(("t", {}) for _ in range(read.CAP + 5))
    counts = queue.counts()
    assert (counts["pending"], counts.cap) == (read.CAP, read.CAP)


# --- history ------------------------------------------------------------------------------------


def test_history_has_a_row_for_each_ended_attempt(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job = frozen.enqueue(known, {})
    assert frozen.history(job) == []
    for transition in (RETRIED, RETRIED, COMPLETED):
        (claimed,) = claim(frozen)
        clock.advance(2)
        finish(frozen, claimed, transition)
    history = frozen.history(job)
    assert [(a.number, a.outcome, a.error) for a in history] == [
        (1, "retried", "again"),
        (2, "retried", "again"),
        (3, "completed", None),
    ]
    assert [(a.started_at - NOON).total_seconds() for a in history] == [0, 2, 4]
    assert {a.ended_at - a.started_at for a in history} == {timedelta(seconds=2)}
    assert {a.worker for a in history} == {"worker-1"}


# --- wait ---------------------------------------------------------------------------------------


async def test_wait_returns_the_job_when_it_is_finished(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @router.handler("slow")
    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "done"

    job = await aqueue.enqueue(slow)
    async with jobq.Worker(aqueue).running():
        waiting = asyncio.create_task(aqueue.wait(job.id, timeout=30))
        await begun.wait()
        assert not waiting.done()
        go_on.set()
        done = await waiting
    assert (done.status, done.result) == ("completed", "done")


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_wait_returns_a_finished_job_at_once(
    queue: jobq.Queue, known: jobq.Handler[dict, dict], status: str
) -> None:
    job = job_in(queue, status)
    assert queue.wait(job) == job
    assert queue.wait(job, timeout=0) == job


def test_wait_gives_up_after_its_timeout_and_says_where_the_job_is(queue: jobq.Queue) -> None:
    job = queue.enqueue("t", {})
    with pytest.raises(jobq.WaitTimeout) as caught:
        queue.wait(job, timeout=0.01)
    assert str(caught.value) == f"job {job.id} is still 'pending' after 0.01 s"
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.job_id, caught.value.status) == (job.id, "pending")


def test_wait_looks_again_soon_however_long_it_has_lasted(queue: jobq.Queue) -> None:
    job = queue.enqueue("t", {})
    looks = _verbs.wait(queue._config, job.id, None)
    rests, step = [], next(looks)
    while len(rests) < 50:
        if isinstance(step, _steps.Rest):
            rests.append(step.seconds)
        step = looks.send(None if isinstance(step, _steps.Rest) else job)
    assert max(rests) <= 0.15


async def test_a_job_that_is_not_kept_is_not_found_after_its_completion(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("fleeting", keep=False)
    async def fleeting(payload: dict) -> None:
        if payload.get("fail"):
            raise jobq.Permanent("no", "no")

    kept = await aqueue.enqueue(fleeting, {"fail": True})
    job = await aqueue.enqueue(fleeting, {})
    undeclared = await aqueue.enqueue("tick", {}, keep=False)

    @router.handler("tick")
    async def tick() -> None: ...

    assert await jobq.Worker(aqueue).run_once() == 3
    for gone in (job, undeclared):
        for verb in (aqueue.get, aqueue.wait, aqueue.history):
            with pytest.raises(jobq.JobNotFound):
                await verb(gone.id)
    assert (await aqueue.wait(kept.id)).status == "failed"
    assert sql(aqueue.sync, "SELECT count(*) FROM jobq_attempt") == [(1,)]


async def test_a_job_that_is_not_kept_leaves_no_attempt_and_no_step_behind(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    left: list[tuple[int, ...]] = []

    def count() -> tuple[int, ...]:
        tables = ("jobq_job", "jobq_attempt", "jobq_step")
        return tuple(sql(afrozen.sync, f"SELECT count(*) FROM {table}")[0][0] for table in tables)

    @router.handler("fleeting", keep=False, retry=jobq.Retry(backoff=jobq.Fixed(60)))
    async def fleeting(payload: dict, job: jobq.JobContext) -> None:
        await job.step("draw", lambda: 1)
        if job.attempt == 1:
            raise RuntimeError("again")
        left.append(count())

    await afrozen.enqueue_many([(fleeting, {"n": n}) for n in range(2)])
    other = await afrozen.enqueue("stranger", {})
    for _ in range(2):
        assert await jobq.Worker(afrozen).run_once() == 2
        clock.advance(60)
    assert left[0] == (3, 2, 2)
    assert count() == (1, 0, 0)
    assert (await afrozen.get(other.id)).status == "pending"


# --- queues and workers -------------------------------------------------------------------------


def test_queues_show_their_live_jobs_and_pauses(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job_in(frozen, "processing")
    job_in(frozen, "completed")
    frozen.enqueue(known, {})
    frozen.enqueue(known, {}, queue="slow", delay=5)
    frozen.pause("slow", until=NOON + timedelta(hours=1))
    frozen.pause("empty")
    states = {state.queue: state for state in frozen.queues()}
    assert {name: dict(state.live) for name, state in states.items()} == {
        "default": {"pending": 1, "processing": 1},
        "empty": {},
        "slow": {"pending": 1},
    }
    assert {name: state.paused for name, state in states.items()} == {
        "default": False,
        "empty": True,
        "slow": True,
    }
    assert states["slow"].paused_until == NOON + timedelta(hours=1)
    clock.advance(3600)
    assert not {state.queue: state for state in frozen.queues()}["slow"].paused


async def test_a_worker_that_was_killed_is_forgotten_an_hour_later_though_no_other_leaves(
    frozen: jobq.Queue, afrozen: jobq.AsyncQueue, clock: FrozenClock
) -> None:
    killed = {name: name for name in ("id", "label", "host", "version")}
    lists = dict.fromkeys(("queues", "types", "limits", "pools"), "[]")
    counts = dict.fromkeys(("pid", "slots", "busy", "abandoned", "lease"), 1)
    run(frozen, ops.heartbeat, **killed, **lists, **counts)
    for minutes, left in ((59, 1), (2, 0)):
        clock.advance(timedelta(minutes=minutes))
        async with aclosing(afrozen._config.async_store()) as store:
            await Upkeep(store, lease=30, keep=None, observers=Observers(), rescued=set).share()
        assert len(await afrozen.workers()) == left


async def test_a_worker_is_listed_while_it_runs(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @router.handler("slow")
    async def slow() -> None:
        begun.set()
        await go_on.wait()

    assert await aqueue.workers() == []
    worker = jobq.Worker(aqueue, queues=["default", "fast"], concurrency=3, label="worker-a")
    async with worker.running():
        await aqueue.enqueue(slow)
        await begun.wait()
        while not (listed := await aqueue.workers()):
            await asyncio.sleep(0)
        go_on.set()
    (info,) = listed
    assert (info.id, info.label, info.alive) == (worker.id, "worker-a", True)
    assert (info.queues, info.types, info.slots) == (("default", "fast"), ("slow",), 3)
    assert info.abandoned == 0
    assert await aqueue.workers() == []
