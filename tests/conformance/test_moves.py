"""The table of legal moves, verb by verb and status by status; moves by filter; pauses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import jobq
from jobq import MOVES, JobStatus
from jobq._outcome import Transition
from jobq._worker.upkeep import after_crash
from jobq.backends import ops
from jobq.testing import FrozenClock
from tests.conformance.situations import (
    FAILED,
    LEASE,
    SECOND,
    claim,
    ending,
    finish,
    job_in,
    run,
    sql,
)

NOON = datetime(2031, 1, 1, 12, tzinfo=UTC)
STATUSES = [str(status) for status in JobStatus]
Verb = Callable[[jobq.Queue, jobq.Job], Any]

VERBS: dict[str, Verb] = {
    "cancel": lambda queue, job: queue.cancel(job),
    "retry": lambda queue, job: queue.retry(job),
    "reschedule": lambda queue, job: queue.reschedule(job, delay=60, priority=5, queue="slow"),
    "set_status": lambda queue, job: queue.set_status(job, "completed", result={"by": "hand"}),
    "delete": lambda queue, job: queue.delete(job),
}


LEGAL = """
    claim       pending rate_limited waiting                    -> processing
    finish      processing  -> completed failed cancelled pending rate_limited waiting
    rescue      processing                                      -> pending failed cancelled
    refuse      pending rate_limited                            -> failed
    cancel      pending rate_limited waiting processing         -> cancelled
    retry       failed cancelled rate_limited waiting processing -> pending
    reschedule  pending rate_limited                            -> pending
    set_status  pending rate_limited waiting processing -> pending completed failed cancelled
    delete      completed failed cancelled                      ->
"""


def test_the_table_of_moves_is_this() -> None:
    lines = (line.split("->") for line in LEGAL.strip().splitlines())
    legal = {
        before.split()[0]: (set(before.split()[1:]), set(after.split())) for before, after in lines
    }
    table = {
        verb: ({str(s) for s in move.sources}, {str(t) for t in move.targets})
        for verb, move in MOVES.items()
    }
    assert table == legal


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_moves_a_job_exactly_where_the_table_says(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], verb: str, status: str
) -> None:
    job = job_in(frozen, status)
    move = MOVES[verb]
    if status not in move.sources:
        with pytest.raises(jobq.IllegalMove) as caught:
            VERBS[verb](frozen, job)
        assert caught.value.allowed == [str(source) for source in move.sources]
        assert (caught.value.job_id, caught.value.status, caught.value.verb) == (
            job.id,
            status,
            verb,
        )
        allowed = ", ".join(move.sources)
        assert str(caught.value) == (
            f"cannot {verb} job {job.id}: it is {status!r}, and only {allowed} jobs can"
        )
        assert frozen.get(job) == job
        return
    moved = VERBS[verb](frozen, job)
    if verb == "delete":
        assert frozen.get_many([job]) == []
        return
    assert moved == frozen.get(job)
    assert moved.version == job.version + 1
    if (verb, status) == ("cancel", "processing"):
        assert (moved.status, moved.cancel_requested) == ("processing", True)
    else:
        assert moved.status in move.targets
        assert moved.cancel_requested is False


@pytest.mark.parametrize("target", STATUSES)
def test_set_status_sets_the_statuses_of_the_table_only(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], target: str
) -> None:
    job = job_in(frozen, "processing")
    if target in MOVES["set_status"].targets:
        assert frozen.set_status(job, target).status == target
    else:
        with pytest.raises(jobq.OptionError, match=f"'{target}' is for workers alone"):
            frozen.set_status(job, target)
        assert frozen.get(job) == job


@pytest.mark.parametrize("status", STATUSES)
def test_a_worker_claims_and_finishes_where_the_table_says(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock, status: str
) -> None:
    job = job_in(frozen, status)
    clock.advance(5)
    claimed = claim(frozen)
    assert bool(claimed) == (status in MOVES["claim"].sources)
    assert frozen.get(job).status == ("processing" if claimed else status)


@pytest.mark.parametrize("status", STATUSES)
def test_an_outcome_is_accepted_from_running_jobs_only(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], status: str
) -> None:
    job = job_in(frozen, status)
    (row,) = sql(frozen, f"SELECT fence, attempts FROM jobq_job WHERE id = '{job.id}'")
    stale = ops.Ending(job.id, row[0] or 0, 1, 0, "worker-1", FAILED)
    accepted = run(frozen, ops.finish, [stale], keep=None)
    assert bool(accepted) == (status in MOVES["finish"].sources)
    if not accepted:
        assert frozen.get(job) == job


@pytest.mark.parametrize("target", [str(status) for status in MOVES["finish"].targets])
def test_an_outcome_leads_wherever_the_table_says(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], target: str
) -> None:
    job = job_in(frozen, "pending")
    (claimed,) = claim(frozen)
    transition = Transition(status=JobStatus(target), outcome=target, result="1")
    assert finish(frozen, claimed, transition) == {job.id: target}
    done = frozen.get(job)
    assert done.status == target
    assert (done.worker, done.lease_until) == (None, None)
    assert (done.completed_at is not None) == done.status.finished


@pytest.mark.parametrize("status", STATUSES)
def test_a_rescue_takes_running_jobs_only(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock, status: str
) -> None:
    job = job_in(frozen, status)
    clock.advance(LEASE / SECOND + 1)
    rescued = run(frozen, ops.rescue, after_crash, keep=None)
    assert [orphan.id for orphan, _ in rescued] == [
        job.id for _ in range(status in MOVES["rescue"].sources)
    ]
    assert (frozen.get(job) == job) == (not rescued)


@pytest.mark.parametrize("status", STATUSES)
def test_a_job_expires_before_it_started_only(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock, status: str
) -> None:
    job = job_in(frozen, status, expires_at=NOON + timedelta(seconds=5))
    clock.advance(5)
    expired = run(frozen, ops.expire, keep=None)
    assert expired == [job.id for _ in range(status in MOVES["refuse"].sources)]
    assert (frozen.get(job) == job) == (not expired)
    if expired:
        assert frozen.get(job).error_code == "expired"


# --- what each verb does ------------------------------------------------------------------------


def test_a_cancelled_job_is_finished_and_says_so(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    job = frozen.cancel(job_in(frozen, "pending"))
    assert (job.status, job.error_code, job.completed_at) == ("cancelled", "cancelled", NOON)
    assert claim(frozen) == []


@pytest.mark.parametrize("status", [str(s) for s in MOVES["retry"].sources])
def test_a_retried_job_begins_anew_with_all_its_attempts(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock, status: str
) -> None:
    job = job_in(frozen, status, max_attempts=1)
    clock.advance(10)
    again = frozen.retry(job)
    assert (again.status, again.attempts, again.run_at) == ("pending", 0, clock.time)
    assert (again.error, again.error_code, again.result) == (None, None, None)
    assert (again.completed_at, again.worker, again.lease_until) == (None, None, None)
    (claimed,) = claim(frozen)
    assert (claimed.id, claimed.attempts) == (job.id, 1)


def test_the_history_goes_on_after_a_retry(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job = job_in(frozen, "failed")
    clock.advance(1)
    frozen.retry(job)
    (claimed,) = claim(frozen)
    finish(frozen, claimed)
    outcomes = [(attempt.number, attempt.outcome) for attempt in frozen.history(job)]
    assert outcomes == [(1, "failed"), (1, "completed")]


def test_a_retry_whose_key_a_live_job_holds_is_a_duplicate(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    failed = job_in(frozen, "failed", unique_key="k")
    holder = frozen.enqueue(known, {"another": 1}, unique_key="k")
    with pytest.raises(jobq.DuplicateJob, match="holds the unique_key 'k'") as caught:
        frozen.retry(failed)
    assert caught.value.existing_id == holder.id
    assert frozen.get(failed) == failed
    assert frozen.retry_where(status="failed") == 0


def test_of_several_jobs_with_one_key_one_is_retried(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    jobs = [job_in(frozen, "failed", unique_key="k") for _ in range(3)]
    others = [job_in(frozen, "failed", unique_key=f"k{n}") for n in range(2)]
    assert frozen.retry_where(status="failed") == 3
    statuses = [job.status for job in frozen.get_many(jobs)]
    assert sorted(statuses) == ["failed", "failed", "pending"]
    assert {job.status for job in frozen.get_many(others)} == {"pending"}


def test_a_rescheduled_job_has_another_time_priority_or_queue(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job = frozen.enqueue(known, {})
    later = frozen.reschedule(job, run_at=NOON + timedelta(hours=1))
    assert (later.run_at, later.priority, later.queue) == (NOON + timedelta(hours=1), 0, "default")
    assert claim(frozen) == []
    urgent = frozen.reschedule(job, priority="urgent", queue="fast")
    assert (urgent.run_at, urgent.priority, urgent.queue) == (later.run_at, 100, "fast")
    now = frozen.reschedule(job, delay=0)
    assert now.run_at == NOON
    assert [claimed.id for claimed in claim(frozen, queues=("fast",))] == [job.id]


def test_an_undeclared_job_stays_undeclared_when_it_is_rescheduled_or_retried(
    frozen: jobq.Queue,
) -> None:
    job = frozen.enqueue("stranger", {})
    assert frozen.reschedule(job, delay=0).declared is False
    frozen.cancel(job)
    assert frozen.retry(job).declared is False
    assert claim(frozen, types=("stranger",)) == []


def test_a_status_set_by_hand_carries_its_result_or_error(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    done = frozen.set_status(job_in(frozen, "waiting"), "completed", result={"url": "u"})
    assert (done.result, done.progress, done.completed_at) == ({"url": "u"}, 100, NOON)
    failed = frozen.set_status(
        job_in(frozen, "processing"), "failed", error="told so", error_code="by_hand"
    )
    assert (failed.error, failed.error_code, failed.completed_at) == ("told so", "by_hand", NOON)
    again = frozen.set_status(job_in(frozen, "waiting"), "pending")
    assert (again.run_at, again.completed_at) == (NOON, None)
    assert [claimed.id for claimed in claim(frozen)] == [again.id]


@pytest.mark.parametrize("verb", ["retry", "set_status"])
def test_a_running_attempt_that_is_disowned_is_in_the_history(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock, verb: str
) -> None:
    job = frozen.enqueue(known, {})
    (claimed,) = claim(frozen)
    clock.advance(3)
    VERBS[verb](frozen, job)
    (attempt,) = frozen.history(job)
    assert (attempt.number, attempt.outcome, attempt.worker) == (1, "disowned", "worker-1")
    assert (attempt.started_at, attempt.ended_at) == (NOON, NOON + timedelta(seconds=3))
    assert finish(frozen, claimed, FAILED) == {}


@pytest.mark.parametrize("status", STATUSES)
def test_progress_can_be_set_on_unfinished_jobs(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], status: str
) -> None:
    job = job_in(frozen, status)
    if job.status.finished:
        with pytest.raises(jobq.IllegalMove, match="cannot set the progress of job"):
            frozen.set_progress(job, 40, "rendering")
        assert frozen.get(job) == job
    else:
        moved = frozen.set_progress(job, 40, "rendering")
        assert (moved.progress, moved.message, moved.status) == (40, "rendering", status)
        assert frozen.set_progress(job, 30).message == "rendering"


def test_a_deleted_job_takes_its_history_with_it(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    frozen.delete(job_in(frozen, "failed"))
    assert sql(frozen, "SELECT count(*) FROM jobq_job") == [(0,)]
    assert sql(frozen, "SELECT count(*) FROM jobq_attempt") == [(0,)]


# --- by filter ----------------------------------------------------------------------------------

BY_FILTER: dict[str, Callable[..., int]] = {
    "cancel": jobq.Queue.cancel_where,
    "retry": jobq.Queue.retry_where,
    "delete": jobq.Queue.delete_where,
}


@pytest.mark.parametrize("verb", BY_FILTER)
def test_a_verb_by_filter_moves_the_jobs_that_it_may_and_a_dry_run_none(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], verb: str
) -> None:
    jobs = {status: job_in(frozen, status) for status in reversed(STATUSES)}
    may = {status for status in STATUSES if status in MOVES[verb].sources}
    move = BY_FILTER[verb]
    before = frozen.list().jobs
    assert move(frozen, dry_run=True) == len(may)
    assert frozen.list().jobs == before
    assert move(frozen) == len(may)
    after = {job.id: job for job in frozen.list().jobs}
    for status, job in jobs.items():
        assert (after.get(job.id) == job) == (status not in may)


@pytest.mark.parametrize("verb", BY_FILTER)
def test_a_verb_by_filter_leaves_the_jobs_that_do_not_fit(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], verb: str
) -> None:
    status = "pending" if verb == "cancel" else "failed"
    mine = job_in(frozen, status, owner="ada")
    sql(frozen, "UPDATE jobq_job SET ready = false")
    other = job_in(frozen, status, owner="bob")
    move = BY_FILTER[verb]
    for where in ({"type": "t"}, {"queue": "slow"}, {"owner": "eve"}, {"status": "waiting"}):
        assert move(frozen, **where) == 0
    assert move(frozen, owner="ada", type="work", queue="default", status=status) == 1
    assert frozen.get(other) == other
    assert frozen.get_many([mine]) != [mine]


def test_more_jobs_than_one_statement_takes_are_all_moved(frozen: jobq.Queue) -> None:
    frozen.enqueue_many(("t", {}) for _ in range(2500))
    assert frozen.cancel_where(dry_run=True) == 2500
    assert frozen.cancel_where() == 2500
    assert frozen.retry_where() == 2500
    frozen.cancel_where()
    assert frozen.delete_where() == 2500
    assert frozen.list().jobs == ()


def test_cleanup_deletes_jobs_that_finished_long_ago(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    old = [job_in(frozen, status) for status in ("completed", "failed", "cancelled")]
    clock.advance(timedelta(days=10))
    recent = job_in(frozen, "completed")
    live = job_in(frozen, "pending")
    clock.advance(timedelta(days=25))
    assert frozen.cleanup_old_jobs(days=40) == 0
    assert frozen.cleanup_old_jobs() == 3
    assert frozen.get_many([*old, recent, live]) == [recent, live]
    assert frozen.cleanup_old_jobs(days=0.5) == 1
    assert sql(frozen, "SELECT count(*) FROM jobq_attempt") == [(0,)]


def test_cleanup_reaches_jobs_that_are_kept_for_ever(
    url: str, router: jobq.Router, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    with jobq.Queue(url, router=router, clock=clock, keep=None) as queue:
        job = job_in(queue, "completed")
        clock.advance(timedelta(days=400))
        assert run(queue, ops.prune) == []
        assert queue.get(job) == job
        assert queue.cleanup_old_jobs(days=365) == 1


def test_finished_jobs_are_pruned_after_their_retention(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    usual = job_in(frozen, "completed")
    short = job_in(frozen, "cancelled", keep=timedelta(hours=1))
    long = job_in(frozen, "failed", keep=timedelta(days=90))
    live = job_in(frozen, "pending", keep=60)
    clock.advance(timedelta(minutes=59))
    assert run(frozen, ops.prune) == []
    clock.advance(timedelta(minutes=1))
    assert run(frozen, ops.prune) == [short.id]
    clock.advance(timedelta(days=30))
    assert run(frozen, ops.prune) == [usual.id]
    assert frozen.get_many([usual, short, long, live]) == [long, live]


# --- pauses -------------------------------------------------------------------------------------


def test_a_paused_queue_starts_nothing_and_the_others_go_on(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    held = frozen.enqueue(known, {}, queue="slow", priority="urgent")
    free = frozen.enqueue(known, {})
    frozen.pause("slow")
    both = ("slow", "default")
    assert [claimed.id for claimed in claim(frozen, queues=both, slots=5)] == [free.id]
    frozen.resume("slow")
    assert [claimed.id for claimed in claim(frozen, queues=both, slots=5)] == [held.id]


def test_a_pause_ends_by_itself_at_its_instant(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    frozen.enqueue(known, {})
    frozen.pause(until=NOON + timedelta(minutes=1))
    clock.advance(59.9)
    assert claim(frozen) == []
    clock.advance(0.1)
    assert len(claim(frozen)) == 1


def test_a_running_job_of_a_paused_queue_goes_on(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    job = job_in(frozen, "pending")
    (claimed,) = claim(frozen)
    frozen.pause()
    (renewal,) = run(frozen, ops.renew, [(job.id, claimed.fence)], lease=LEASE, margin=10 * SECOND)
    assert renewal.held
    assert finish(frozen, claimed) == {job.id: "completed"}


def test_an_unfinished_pause_is_replaced_by_the_next(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    frozen.enqueue(known, {})
    frozen.pause(until=NOON + timedelta(minutes=1))
    frozen.pause()
    clock.advance(3600)
    assert claim(frozen) == []
    frozen.resume()
    frozen.resume()
    assert len(claim(frozen)) == 1


async def test_a_worker_starts_nothing_of_a_paused_queue(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    await aqueue.enqueue(known, {})
    await aqueue.pause()
    assert await jobq.Worker(aqueue).run_once() == 0
    await aqueue.resume()
    assert await jobq.Worker(aqueue).run_once() == 1


def test_the_endings_of_a_batch_are_judged_one_by_one(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    jobs = [frozen.enqueue(known, {}) for _ in range(4)]
    claimed = claim(frozen, slots=4)
    frozen.retry(jobs[1])
    frozen.set_status(jobs[2], "completed", result="by hand")
    done = run(frozen, ops.finish, [ending(job, FAILED) for job in claimed], keep=None)
    assert done == {jobs[0].id: "failed", jobs[3].id: "failed"}
    statuses = [job.status for job in frozen.get_many(jobs)]
    assert statuses == ["failed", "pending", "completed", "failed"]
    outcomes = [[a.outcome for a in frozen.history(job)] for job in jobs]
    assert outcomes == [["failed"], ["disowned"], ["disowned"], ["failed"]]
