"""Batches of jobs: what follows is enqueued once, when all have ended, however they did."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import Any
from uuid import uuid4

import psycopg
import pytest

import jobq
from jobq._model import JobStatus
from jobq.backends import ops
from jobq.testing import adrain, drain
from tests.conformance.situations import COMPLETED, FAILED, claim, finish, run, sql

DAY = 86_400.0


@pytest.fixture
def work(router: jobq.Router) -> None:
    """A handler that does as its payload says, and one that follows batches."""

    @router.handler("work", retry=jobq.Retry(max_attempts=1))
    async def work(payload: dict) -> dict:
        if payload.get("fails"):
            raise ValueError("as asked")
        return payload

    @router.handler("follow")
    async def follow(payload: dict, job: jobq.JobContext) -> dict:
        return {**payload, "batch": job.metadata["batch"]}


def followers(queue: jobq.Queue) -> list[jobq.Job]:
    return list(queue.list(type="follow").jobs)


def stored(queue: jobq.Queue, *payloads: dict, **options: Any) -> tuple[jobq.Batch, list[Any]]:
    """A batch of jobs `work`, with something that follows."""
    batch = jobq.Batch(then=("follow", {"album": 7}), **options)
    outcomes = queue.enqueue_many((("work", payload) for payload in payloads), batch=batch)
    return batch, [outcome.job for outcome in outcomes]


# --- the end -----------------------------------------------------------------------------------


def test_when_all_have_ended_the_job_that_follows_is_run_once(queue, router, work):
    batch, jobs = stored(queue, {}, {"fails": True}, {}, owner="ada")
    before = queue.batch(batch.id)
    assert (before.total, before.progress, before.ended_at) == (3, 0, None)
    assert drain(queue, max_jobs=2) == 2
    assert (queue.batch(batch).progress, followers(queue)) == (66, [])
    assert drain(queue) == 2
    [job] = followers(queue)
    assert job.result == {"album": 7, "batch": batch.id}
    after = queue.batch(batch.id)
    assert (after.progress, after.then_id, after.owner) == (100, job.id, "ada")
    assert after.by_status == {JobStatus.COMPLETED: 2, JobStatus.FAILED: 1}
    assert after.ended_at is not None
    assert {queue.get(one.id).batch_id for one in jobs} == {batch.id}
    assert queue.list(batch=batch).jobs == queue.list(type="work").jobs


async def test_the_asynchronous_face_knows_batches_too(aqueue, work):
    batch = jobq.Batch(then=("follow", {}))
    await aqueue.enqueue_many([("work", {})] * 2, batch=batch)
    assert await adrain(aqueue) == 3
    assert (await aqueue.batch(batch)).progress == 100
    assert len((await aqueue.list(batch=batch.id)).jobs) == 2


def test_a_batch_of_no_jobs_has_ended_at_once(queue, work):
    batch, _ = stored(queue)
    info = queue.batch(batch)
    assert (info.total, info.progress) == (0, 100)
    assert [job.id for job in followers(queue)] == [info.then_id]


def test_a_batch_that_nothing_follows_ends_as_well(queue, work):
    batch = jobq.Batch()
    queue.enqueue_many([("work", {})], batch=batch)
    drain(queue)
    info = queue.batch(batch)
    assert (info.progress, info.then_id, info.ended_at is None) == (100, None, False)


def test_two_workers_that_finish_the_last_jobs_at_once_enqueue_one_follower(queue, work):
    batch, _ = stored(queue, *[{}] * 8)
    claimed = claim(queue, slots=8)
    assert {one.batch_id for one in claimed} == {batch.id}
    together = threading.Barrier(4)

    def ends(some: list[Any]) -> None:
        with jobq.Queue(queue._config.url) as other:
            run(other, ops.survey, types=[])
            together.wait()
            for one in some:
                finish(other, one)
                run(other, ops.end_batches, [batch.id], keep=None)

    threads = [threading.Thread(target=ends, args=(claimed[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run(queue, ops.end_batches, which, keep=None) for which in ([batch.id], None)] == [
        [],
        [],
    ]
    assert [job.id for job in followers(queue)] == [queue.batch(batch).then_id]


def test_a_worker_that_dies_between_the_last_outcome_and_the_follower_loses_nothing(queue, work):
    stored(queue, {})
    finish(queue, claim(queue)[0])
    assert followers(queue) == []
    assert run(queue, ops.overdue).batches
    drain(queue)
    assert [job.status for job in followers(queue)] == ["completed"]
    assert not run(queue, ops.overdue).batches


async def test_a_running_worker_notices_a_batch_that_ended_without_it(aqueue, work):
    batch = jobq.Batch(then=("follow", {}))
    [outcome] = await aqueue.enqueue_many([("other", {})], batch=batch)
    await aqueue._store().run(ops.set_status, outcome.job.id, status="failed", result=None,
                              error=None, error_code=None, keep=None)  # fmt: skip
    async with jobq.Worker(aqueue).running():
        job = await asyncio.wait_for(found(aqueue, "follow"), 20)
    assert job.metadata["batch"] == batch.id


async def found(queue: jobq.AsyncQueue, type: str) -> jobq.Job:
    while not (jobs := (await queue.list(type=type)).jobs):
        await asyncio.sleep(0.01)
    return jobs[0]


@pytest.mark.parametrize("verb", ["cancel", "set_status", "cancel_where", "delete"])
def test_jobs_that_are_moved_by_hand_end_their_batch(queue, work, verb):
    batch, _ = stored(queue, {}, {})
    finish(queue, claim(queue)[0], FAILED)
    [left] = queue.list(status="pending", batch=batch).jobs
    if verb == "cancel_where":
        assert queue.cancel_where(batch=batch.id) == 1
    elif verb == "set_status":
        queue.set_status(left, "completed", result=1)
    else:
        queue.cancel(left)
    if verb == "delete":
        assert queue.delete_where(batch=batch) == 2
        assert queue.batch(batch).deleted == 2
    assert queue.batch(batch).progress == 100
    assert len(followers(queue)) == 1


def test_a_lost_and_an_expired_job_end_their_batch(frozen, clock, router, work):
    batch = jobq.Batch(then=("follow", {}))
    late = {"expires_at": clock_at(clock, 60), "max_attempts": 1}
    frozen.enqueue_many([("work", {}, {"max_attempts": 1}), ("work", {}, late)], batch=batch)
    claim(frozen)
    clock.advance(3600)
    drain(frozen)
    info = frozen.batch(batch)
    assert info.by_status == {JobStatus.FAILED: 2}
    assert len(followers(frozen)) == 1


def clock_at(clock: Any, seconds: float) -> Any:
    from datetime import timedelta

    from jobq._clock import to_datetime

    return to_datetime(clock.now()) + timedelta(seconds=seconds)


def test_jobs_that_are_deleted_when_they_complete_end_their_batch(queue, router, work):
    batch = jobq.Batch(then=("follow", {}))
    queue.enqueue_many([("work", {}, {"keep": False})] * 3, batch=batch)
    assert drain(queue) == 4
    info = queue.batch(batch)
    assert (info.progress, info.deleted, info.by_status) == (100, 3, {})


def test_a_batch_outlives_the_pruning_of_its_first_jobs(frozen, clock, work):
    batch, _ = stored(frozen, {}, {})
    finish(frozen, claim(frozen)[0])
    clock.advance(40 * DAY)
    run(frozen, ops.prune)
    info = frozen.batch(batch)
    assert (info.total, info.deleted, info.unfinished, info.progress) == (2, 1, 1, 50)
    finish(frozen, claim(frozen)[0])
    drain(frozen)
    assert len(followers(frozen)) == 1


@pytest.mark.parametrize("by_age", [False, True])
def test_an_ended_batch_is_forgotten_with_its_jobs(frozen, clock, work, by_age):
    open_, _ = stored(frozen, {})
    (claimed,) = claim(frozen)
    batch = jobq.Batch()
    frozen.enqueue_many([], batch=batch)
    clock.advance(31 * DAY)
    if by_age:
        frozen.cleanup_old_jobs(30)
    else:
        assert run(frozen, ops.overdue).prune
        run(frozen, ops.prune)
    with pytest.raises(jobq.BatchNotFound, match=batch.id):
        frozen.batch(batch)
    assert frozen.batch(open_).unfinished == 1
    assert claimed.batch_id == open_.id


# --- once --------------------------------------------------------------------------------------


def test_a_job_that_is_retried_before_the_end_holds_its_batch_open(queue, work):
    _, jobs = stored(queue, {"fails": True}, {})
    drain(queue, max_jobs=1)
    queue.retry(jobs[0])
    drain(queue, max_jobs=1)
    assert followers(queue) == []
    drain(queue)
    assert len(followers(queue)) == 1


def test_a_job_that_is_retried_after_the_end_brings_no_second_follower(queue, work):
    batch, jobs = stored(queue, {"fails": True})
    drain(queue)
    ended = queue.batch(batch).ended_at
    queue.retry(jobs[0])
    assert queue.batch(batch).progress == 0
    drain(queue)
    assert len(followers(queue)) == 1
    assert queue.batch(batch).ended_at == ended


def test_a_batch_is_stored_once_however_often_it_is_sent(queue, router, work):
    plain, follow = ops.Terms(type="work"), ops.Terms(type="follow", metadata='{"batch":"b"}')
    rows = [ops.NewRow(id=str(uuid4()), payload="{}", terms=plain) for _ in range(3)]
    then = ops.NewRow(id=str(uuid4()), payload="{}", terms=follow)
    new = ops.NewBatch(id=str(uuid4()), owner=None, then=then)
    first, _ = run(queue, ops.insert_batch, new, rows, keep=None)
    again, _ = run(queue, ops.insert_batch, new, rows, keep=None, again=True)
    assert [job.id for job in first] == [job.id for job in again]
    assert queue.batch(new.id).total == 3


def test_a_batch_object_is_for_one_call(queue, work):
    batch, _ = stored(queue, {})
    with pytest.raises(jobq.OptionError, match="make a Batch for each call"):
        queue.enqueue_many([("work", {})], batch=batch)
    assert len(queue.list(type="work").jobs) == 1


# --- what belongs to it ------------------------------------------------------------------------


def test_what_cannot_be_enqueued_is_kept_out_and_not_waited_for(queue, router, work):
    queue.enqueue("work", {}, unique_key="k")
    items = [
        ("work", {}, {"unique_key": "k"}),
        ("work", {1, 2}),
        ("work", {}, {"idempotency_key": "i"}),
        ("work", {}),
    ]
    batch = jobq.Batch(then=("follow", {}))
    held, bad, keyed, good = queue.enqueue_many(items, batch=batch)
    assert (held.created, good.created) == (False, True)
    assert isinstance(bad.error, jobq.PayloadError)
    assert isinstance(keyed.error, jobq.OptionError)
    assert held.job.batch_id is None
    assert queue.batch(batch).total == 1
    finish(queue, *claim(queue, slots=1))
    queue.cancel(good.job)
    assert len(followers(queue)) == 1


def test_a_batch_of_nothing_but_jobs_that_exist_has_ended(queue, work):
    queue.enqueue("work", {}, unique_key="k")
    batch = jobq.Batch(then=("follow", {}))
    queue.enqueue_many([("work", {}, {"unique_key": "k"})], batch=batch)
    assert (queue.batch(batch).total, len(followers(queue))) == (0, 1)


def test_a_batch_commits_or_vanishes_with_the_callers_transaction(queue, url, work):
    queue.list()
    connect = psycopg.connect if url.startswith("postgresql") else sqlite3.connect
    connection = connect(url.removeprefix("sqlite:///"))
    try:
        lost, kept = jobq.Batch(then=("follow", {})), jobq.Batch(then=("follow", {}))
        queue.enqueue_many([("work", {})] * 3, batch=lost, connection=connection)
        connection.rollback()
        queue.enqueue_many([("work", {})] * 3, batch=kept, connection=connection)
        connection.commit()
    finally:
        connection.close()
    with pytest.raises(jobq.BatchNotFound):
        queue.batch(lost)
    assert queue.batch(kept).total == 3
    assert len(queue.list(type="work").jobs) == 3
    assert drain(queue) == 4


def test_what_follows_has_the_options_of_any_job(queue, router, work):
    then = jobq.NewJob(
        type="follow", payload={}, queue="slow", priority="urgent", owner="ada", delay=60,
        metadata={"why": "album"},
    )  # fmt: skip
    batch = jobq.Batch(then=then)
    queue.enqueue_many([], batch=batch)
    [job] = followers(queue)
    assert (job.queue, job.priority, job.owner) == ("slow", 100, "ada")
    assert job.metadata == {"why": "album", "batch": batch.id}
    assert (job.run_at - job.created_at).total_seconds() == 60


@pytest.mark.parametrize(
    "then",
    [
        "follow",
        ("follow", {1, 2}),
        ("follow", {}, {"unique_key": "k"}),
        ("follow", {}, {"idempotency_key": "k"}),
        ("follow", {}, {"colour": "red"}),
        5,
    ],
)
def test_what_cannot_follow_is_refused_before_anything_is_stored(queue, work, then):
    with pytest.raises((jobq.OptionError, jobq.PayloadError)):
        queue.enqueue_many([("work", {})], batch=jobq.Batch(then=then))
    assert queue.list().jobs == ()


@pytest.mark.parametrize("batch", ["night", 5, True])
def test_what_is_no_batch_is_refused(queue, work, batch):
    with pytest.raises(jobq.OptionError, match="must be a Batch"):
        queue.enqueue_many([("work", {})], batch=batch)


def test_an_unknown_batch_is_not_found(queue):
    with pytest.raises(jobq.BatchNotFound):
        queue.batch(uuid4())
    with pytest.raises(jobq.OptionError):
        queue.batch("night")
    with pytest.raises(jobq.OptionError):
        jobq.Batch(owner=5)


def test_observers_hear_of_what_follows(url, router, work):
    heard = []

    class Hears(jobq.Observer):
        def job_enqueued(self, job: jobq.Job) -> None:
            heard.append(job.type)

    with jobq.Queue(url, router=router, observers=[Hears()]) as queue:
        stored(queue, {})
        drain(queue)
        stored(queue)
    assert heard == ["work", "follow", "follow"]


def test_finishing_jobs_of_no_batch_looks_for_none(queue, work, monkeypatch):
    def fails(*_: Any, **__: Any) -> Any:
        raise AssertionError("nobody should ask")

    queue.enqueue("work", {})
    with monkeypatch.context() as patched:
        patched.setattr(ops, "end_batches", fails)
        (claimed,) = claim(queue)
        finish(queue, claimed, COMPLETED)
    assert sql(queue, "SELECT count(*) FROM jobq_batch") == [(0,)]
