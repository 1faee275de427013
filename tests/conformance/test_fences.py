"""Leases and fences: a late write is refused, and a lost job is taken by someone else."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import jobq
from jobq._enqueue import new_row
from jobq._model import JobStatus
from jobq._outcome import CRASHES_ALLOWED, Transition
from jobq._worker.claimer import Claimer
from jobq._worker.lease import LeaseKeeper
from jobq._worker.upkeep import after_crash
from jobq.backends import callers, ops
from jobq.backends._statement import single
from jobq.backends.ops.claim import Claimed
from jobq.testing import FrozenClock
from tests.conformance.situations import (
    COMPLETED,
    FAILED,
    LEASE,
    MARGIN,
    RETRIED,
    SECOND,
    claim,
    ending,
    finish,
    job_in,
    run,
    sql,
)

EXPIRED = LEASE / SECOND + 1


def renew(queue: jobq.Queue, *claimed: Claimed, lease: int = LEASE) -> list[Any]:
    held = [(job.id, job.fence) for job in claimed]
    renewals: list[Any] = run(queue, ops.renew, held, lease=lease, margin=MARGIN)
    return renewals


def progress(queue: jobq.Queue, claimed: Claimed, percent: int) -> list[str]:
    row = {"id": claimed.id, "fence": claimed.fence, "progress": percent, "message": "on my way"}
    stored: list[str] = run(queue, ops.progress, [row])
    return stored


def rescue(queue: jobq.Queue) -> list[tuple[str, str]]:
    rescued = run(queue, ops.rescue, after_crash, keep=None)
    return [(orphan.id, status) for orphan, status in rescued]


def complete(queue: jobq.Queue, claimed: Claimed, connection: Any) -> bool:
    """What `job.complete` does, on a connection of the handler's own."""
    accepted: bool = callers.run(
        queue._store().dialect,
        connection,
        ops.complete,
        id=claimed.id,
        fence=claimed.fence,
        result='"mine"',
        keep=None,
        worker="worker-1",
    )
    return accepted


def connect(url: str) -> Any:
    if url.startswith("sqlite"):
        return sqlite3.connect(url.removeprefix("sqlite:///"))
    return psycopg.connect(url)


# --- a late write -------------------------------------------------------------------------------


def lease_ends(queue: jobq.Queue, job: jobq.Job, clock: FrozenClock) -> None:
    clock.advance(EXPIRED)
    assert rescue(queue) == [(job.id, "pending")]
    (claimed,) = claim(queue, worker="worker-2")
    assert claimed.id == job.id


def is_retried(queue: jobq.Queue, job: jobq.Job, clock: FrozenClock) -> None:
    queue.retry(job)
    (claimed,) = claim(queue, worker="worker-2")
    assert claimed.id == job.id


def is_set_by_hand(queue: jobq.Queue, job: jobq.Job, clock: FrozenClock) -> None:
    queue.set_status(job, "completed", result="by hand")


def is_rescued(queue: jobq.Queue, job: jobq.Job, clock: FrozenClock) -> None:
    clock.advance(EXPIRED)
    assert rescue(queue) == [(job.id, "pending")]


def is_retried_and_waits(queue: jobq.Queue, job: jobq.Job, clock: FrozenClock) -> None:
    queue.retry(job)


@pytest.mark.parametrize(
    "loses", [lease_ends, is_retried, is_set_by_hand, is_rescued, is_retried_and_waits]
)
def test_every_late_write_of_a_lost_claim_is_refused(
    frozen: jobq.Queue,
    known: jobq.Handler[dict, dict],
    clock: FrozenClock,
    url: str,
    loses: Callable[[jobq.Queue, jobq.Job, FrozenClock], None],
) -> None:
    job = frozen.enqueue(known, {})
    (zombie,) = claim(frozen)
    loses(frozen, job, clock)
    before, history = frozen.get(job), frozen.history(job)
    for transition in (COMPLETED, FAILED, RETRIED):
        assert finish(frozen, zombie, transition) == {}
        assert finish(frozen, zombie, transition, again=True) == {}
        committed = ops.Ending(job.id, zombie.fence, 1, 0, "worker-1", COMPLETED, committed=True)
        assert run(frozen, ops.finish_with_more, [committed], keep=None) == {}
    unkept = ending(zombie, COMPLETED)._replace(deletes=True)
    assert run(frozen, ops.finish, [unkept], keep=None) == {}
    assert progress(frozen, zombie, 99) == []
    (renewal,) = renew(frozen, zombie)
    assert not renewal.held
    connection = connect(url)
    assert complete(frozen, zombie, connection) is False
    connection.close()
    assert frozen.get(job) == before
    assert frozen.history(job) == history


def test_the_new_owner_of_a_lost_job_writes_as_usual(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job = frozen.enqueue(known, {})
    (zombie,) = claim(frozen)
    clock.advance(EXPIRED)
    rescue(frozen)
    (owner,) = claim(frozen, worker="worker-2")
    assert owner.fence != zombie.fence
    assert progress(frozen, zombie, 90) == []
    assert progress(frozen, owner, 10) == [job.id]
    assert finish(frozen, zombie, FAILED) == {}
    assert finish(frozen, owner) == {job.id: "completed"}
    outcomes = [(a.number, a.outcome) for a in frozen.history(job)]
    assert outcomes == [(1, "crashed"), (2, "completed")]


def test_fences_are_drawn_anew_for_every_claim(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    frozen.enqueue_many((known, {}) for _ in range(500))
    fences = {claim(frozen)[0].fence for _ in range(500)}
    assert len(fences) == 500
    assert min(fences) < 0 < max(fences)
    assert max(abs(fence) for fence in fences) > 2**60


def test_a_claim_of_many_draws_once(frozen: jobq.Queue, known: jobq.Handler[dict, dict]) -> None:
    """A server may open a file for each random number; ids tell the jobs of a claim apart."""
    frozen.enqueue_many((known, {}) for _ in range(10))
    assert len({job.fence for job in claim(frozen, slots=10)}) == 1


@pytest.mark.parametrize("verb, draws", [("retry", True), ("set_status", True), ("cancel", False)])
def test_a_verb_that_disowns_a_running_attempt_draws_another_fence(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], verb: str, draws: bool
) -> None:
    job = frozen.enqueue(known, {})
    (claimed,) = claim(frozen)
    getattr(frozen, verb)(job, *(["failed"] if verb == "set_status" else []))
    ((fence,),) = sql(frozen, "SELECT fence FROM jobq_job")
    assert (fence != claimed.fence) == draws


def test_a_late_outcome_in_a_batch_does_not_hold_up_the_others(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    jobs = [frozen.enqueue(known, {}) for _ in range(3)]
    claimed = claim(frozen, slots=3)
    frozen.retry(jobs[1])
    done = run(frozen, ops.finish, [ending(job, COMPLETED) for job in claimed], keep=None)
    assert done == {jobs[0].id: "completed", jobs[2].id: "completed"}
    assert frozen.get(jobs[1]).status == "pending"


# --- an outcome sent twice ----------------------------------------------------------------------


@pytest.mark.parametrize("transition", [COMPLETED, FAILED, RETRIED])
def test_an_outcome_sent_again_counts_as_stored_and_is_stored_once(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], transition: Transition
) -> None:
    job = frozen.enqueue(known, {})
    (claimed,) = claim(frozen)
    expected = {job.id: str(transition.status)}
    assert finish(frozen, claimed, transition) == expected
    before = frozen.get(job)
    assert finish(frozen, claimed, transition, again=True) == expected
    assert frozen.get(job) == before
    assert len(frozen.history(job)) == 1


def finish_and_claim(queue: jobq.Queue, ended: list[Claimed], **options: Any) -> Any:
    """What a worker sends that holds nothing ahead."""
    joined = ops.joined(queue._config.backend.dialect)
    names: dict[str, Any] = {"queues": ["default"], "types": ["work"], "worker": "worker-1"}
    wanted = {**names, "slots": len(ended), "lease": LEASE, "margin": MARGIN, "edges": ()}
    endings = [ending(job, COMPLETED) for job in ended]
    done, claimed = run(queue, joined, endings, wanted, keep=None, **options)
    return done, [job.id for job in claimed]


def test_outcomes_sent_with_a_claim_are_written_and_refused_alike(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    jobs = [frozen.enqueue(known, {}) for _ in range(9)]
    ids = [job.id for job in jobs]
    ended = claim(frozen, slots=3)
    frozen.set_status(jobs[1], "failed")
    assert finish_and_claim(frozen, ended) == (
        dict.fromkeys([ids[0], ids[2]], "completed"),
        ids[3:6],
    )
    before = [frozen.get(id) for id in ids[:3]]
    sent_again = finish_and_claim(frozen, ended, again=True)
    assert sent_again == (dict.fromkeys([ids[0], ids[2]], "completed"), ids[6:9])
    assert [frozen.get(id) for id in ids[:3]] == before
    assert [len(frozen.history(id)) for id in (ids[0], ids[2])] == [1, 1]
    assert frozen.counts()["processing"] == 6


def test_an_outcome_sent_again_that_was_not_stored_is_stored(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    job = frozen.enqueue(known, {})
    (claimed,) = claim(frozen)
    assert finish(frozen, claimed, again=True) == {job.id: "completed"}


def test_an_insert_sent_again_is_recognised(frozen: jobq.Queue) -> None:
    rows = [
        new_row(frozen._config, jobq.NewJob(type="t", payload={"n": n}, unique_key=key))
        for n, key in enumerate([None, "k"])
    ]
    for row in rows:
        first = run(frozen, ops.insert, row)
        assert run(frozen, ops.insert, row, again=True) == first
    assert [job.id for job in run(frozen, ops.insert_many, rows, again=True)] == [
        row.id for row in rows
    ]
    assert frozen.counts()["pending"] == 2


@pytest.mark.parametrize("unique_key", [None, "k"])
@pytest.mark.parametrize("ended", [False, True])
def test_an_insert_that_arrives_while_it_is_sent_again_is_recognised(
    frozen: jobq.Queue, unique_key: str | None, ended: bool
) -> None:
    row = new_row(frozen._config, jobq.NewJob(type="t", payload={}, unique_key=unique_key))
    arrived = []

    @single
    def sent_again(d: Any) -> Any:
        op = ops.insert(d, row, again=True)
        call = next(op)
        while True:
            if call.sql.startswith("INSERT") and not arrived:
                arrived.append(run(frozen, ops.insert, row))
                if ended:
                    frozen.cancel(row.id)
            rows = yield call
            try:
                call = op.send(rows)
            except StopIteration as stop:
                return stop.value

    job = run(frozen, sent_again)
    assert (arrived[0].id, job.id, job.created) == (row.id, row.id, True)
    assert [one.id for one in frozen.list().jobs] == [row.id]


def test_a_completion_in_a_handlers_transaction_is_in_the_history_without_its_worker(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], url: str
) -> None:
    job = frozen.enqueue(known, {})
    (claimed,) = claim(frozen)
    connection = connect(url)
    assert complete(frozen, claimed, connection)
    connection.commit()
    connection.close()
    [attempt] = history = frozen.history(job)
    assert (attempt.number, attempt.outcome, attempt.worker) == (1, "completed", "worker-1")
    committed = ops.Ending(job.id, claimed.fence, 1, 0, "worker-1", COMPLETED, committed=True)
    for again in (False, True):
        ended = run(frozen, ops.finish_with_more, [committed], keep=None, again=again)
        assert ended == {job.id: "completed"}
    assert frozen.history(job) == history


# --- cancel -------------------------------------------------------------------------------------


def test_cancel_keeps_the_fence_so_the_handlers_outcome_is_heard(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    job = frozen.enqueue(known, {})
    (claimed,) = claim(frozen)
    frozen.cancel(job)
    (renewal,) = renew(frozen, claimed)
    assert (renewal.held, renewal.cancel_requested) == (True, True)
    assert finish(frozen, claimed) == {job.id: "completed"}


@pytest.mark.parametrize("word", ["retried", "snoozed", "released"])
def test_a_job_asked_to_cancel_does_not_go_back_to_the_queue(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], word: str
) -> None:
    job = frozen.enqueue(known, {})
    (claimed,) = claim(frozen)
    frozen.cancel(job)
    back = Transition(status=JobStatus.PENDING, outcome=word, given_back=int(word != "retried"))
    assert finish(frozen, claimed, back) == {job.id: "cancelled"}
    ended = frozen.get(job)
    assert (ended.status, ended.error_code) == ("cancelled", "cancelled")
    assert ended.completed_at is not None
    assert claim(frozen) == []


def test_a_rescue_honours_a_cancellation(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job = job_in(frozen, "processing")
    frozen.cancel(job)
    clock.advance(EXPIRED)
    assert rescue(frozen) == [(job.id, "cancelled")]
    assert claim(frozen) == []


async def test_a_worker_that_claims_a_cancelled_job_does_not_start_it(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    started: list[str] = []

    @router.handler("work")
    async def work(payload: dict, job: jobq.JobContext) -> None:
        started.append(job.id)

    job = await aqueue.enqueue(work, {})
    sql(aqueue.sync, "UPDATE jobq_job SET cancel_requested = true")
    assert await jobq.Worker(aqueue).run_once() == 1
    assert started == []
    assert (await aqueue.get(job.id)).status == "cancelled"


# --- leases -------------------------------------------------------------------------------------


def test_a_lease_lasts_until_it_is_renewed_no_more(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job = frozen.enqueue(known, {})
    (claimed,) = claim(frozen)
    for _ in range(3):
        clock.advance(LEASE / SECOND)
        assert rescue(frozen) == []
        (renewal,) = renew(frozen, claimed)
        assert (renewal.held, renewal.cancel_requested) == (True, False)
    clock.advance(LEASE / SECOND + 0.000001)
    assert rescue(frozen) == [(job.id, "pending")]


async def test_a_job_whose_claim_was_answered_too_late_is_given_back_and_not_begun(
    aqueue: jobq.AsyncQueue, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease counts from when it was asked for, and somebody else may have it by now."""
    late, attempts = [31.0], []
    receive = Claimer._receive

    def receive_late(self: Claimer, group: Any, claimed: Any, jobs: int, asked_at: float) -> None:
        receive(self, group, claimed, jobs, asked_at - (late.pop() if claimed and late else 0.0))

    @router.handler("h")
    async def handle(payload: dict, job: jobq.JobContext) -> None:
        attempts.append(job.attempt)

    monkeypatch.setattr(Claimer, "_receive", receive_late)
    job = await aqueue.enqueue(handle, {})
    async with jobq.Worker(aqueue, lease=30.0).running():
        done = await aqueue.wait(job.id, timeout=20)
    assert attempts == [1]
    assert (done.status, done.released_count) == ("completed", 1)


async def test_the_handler_of_a_job_that_was_lost_is_stopped_at_the_next_heartbeat(
    aqueue: jobq.AsyncQueue, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    @router.handler("work")
    async def work(payload: dict) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    monkeypatch.setattr(LeaseKeeper, "interval", 0.05)
    async with jobq.Worker(aqueue, lease=3600).running():
        job = await aqueue.enqueue(work, {})
        await begun.wait()
        await aqueue.set_status(job, "completed", result="by hand")
        await stopped.wait()
    assert (await aqueue.get(job)).result == "by hand"


def test_any_worker_rescues_and_the_crash_uses_an_attempt(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job = frozen.enqueue(known, {})
    claim(frozen, worker="worker-7")
    clock.advance(EXPIRED)
    assert rescue(frozen) == [(job.id, "pending")]
    back = frozen.get(job)
    assert (back.attempts, back.crash_count, back.error_code) == (1, 1, "crashed")
    assert back.error == "worker worker-7 stopped renewing its lease during attempt 1"
    assert (back.worker, back.lease_until) == (None, None)
    (attempt,) = frozen.history(job)
    assert (attempt.number, attempt.outcome, attempt.error) == (1, "crashed", back.error)
    assert rescue(frozen) == []


def test_a_worker_that_leaves_gives_back_its_own_jobs_only(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    mine, other = frozen.enqueue(known, {}), frozen.enqueue(known, {})
    assert [claim(frozen, worker=name)[0].id for name in ("leaving", "staying")] == [
        mine.id,
        other.id,
    ]
    back = run(frozen, ops.give_back, "leaving", lambda _: RETRIED, keep=None)
    assert [(orphan.id, status) for orphan, status in back] == [(mine.id, "pending")]
    kept = frozen.get(other)
    assert (kept.status, kept.worker) == ("processing", "staying")


def test_a_job_that_crashes_its_workers_three_times_fails_whatever_its_attempts(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job = frozen.enqueue(known, {}, max_attempts=50)
    for crash in range(1, CRASHES_ALLOWED + 1):
        (claimed,) = claim(frozen)
        assert claimed.attempts == crash
        clock.advance(EXPIRED)
        (rescued,) = rescue(frozen)
    assert rescued == (job.id, "failed")
    dead = frozen.get(job)
    assert (dead.error_code, dead.crash_count, dead.attempts) == ("crash_loop", 3, 3)
    assert [attempt.outcome for attempt in frozen.history(job)] == ["crashed", "crashed", "failed"]


def test_a_crash_in_the_last_attempt_fails_the_job(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job = frozen.enqueue(known, {}, max_attempts=1)
    claim(frozen)
    clock.advance(EXPIRED)
    assert rescue(frozen) == [(job.id, "failed")]
    assert frozen.get(job).error_code == "crashed"


def test_more_orphans_than_a_batch_are_all_rescued(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    frozen.enqueue_many((known, {}) for _ in range(1200))
    assert len(claim(frozen, slots=1200)) == 1200
    clock.advance(EXPIRED)
    rescued = 0
    while found := rescue(frozen):
        rescued += len(found)
    assert rescued == 1200


@pytest.mark.parametrize("timeout, lease_seconds", [(5, 15), (100, 30), (None, 30)])
def test_a_lease_ends_a_little_after_the_deadline_at_the_latest(
    frozen: jobq.Queue,
    known: jobq.Handler[dict, dict],
    clock: FrozenClock,
    timeout: float | None,
    lease_seconds: int,
) -> None:
    job = frozen.enqueue(known, {}, timeout=timeout)
    claim(frozen)
    lease = frozen.get(job).lease_until
    assert lease is not None
    assert (lease - clock.time).total_seconds() == lease_seconds


def test_a_renewal_never_reaches_past_the_deadline_and_the_margin(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    started = clock.time
    job = frozen.enqueue(known, {}, timeout=60)
    (claimed,) = claim(frozen)
    ends = []
    for _ in range(7):
        clock.advance(10)
        renew(frozen, claimed)
        lease = frozen.get(job).lease_until
        assert lease is not None
        ends.append((lease - started).total_seconds())
    assert ends == [40, 50, 60, 70, 70, 70, 70]
    clock.advance(0.1)
    assert rescue(frozen) == [(job.id, "pending")]


def test_renewals_skip_a_row_that_a_handlers_transaction_holds(
    postgres: str, router: jobq.Router, known: jobq.Handler[dict, dict]
) -> None:
    with jobq.Queue(postgres, router=router) as queue, psycopg.connect(postgres) as handler:
        jobs = [queue.enqueue(known, {}) for _ in range(3)]
        claimed = claim(queue, slots=3)
        before = [job.lease_until for job in queue.get_many(jobs)]
        assert complete(queue, claimed[1], handler)
        with psycopg.connect(postgres, autocommit=True) as impatient:
            impatient.execute("SET lock_timeout = '5s'")
            held = [(job.id, job.fence) for job in claimed]
            op = ops.renew(queue._store().dialect, held, lease=2 * LEASE, margin=MARGIN)
            renewals = drive(op, impatient)
            row = {"id": claimed[1].id, "fence": claimed[1].fence, "progress": 5, "message": None}
            assert drive(ops.progress(queue._store().dialect, [row]), impatient) == []
        assert [renewal.held for renewal in renewals] == [True] * 3
        after = [job.lease_until for job in queue.get_many(jobs)]
        assert after[1] == before[1]
        assert after[0] > before[0]  # type: ignore[operator]
        assert after[2] > before[2]  # type: ignore[operator]
        handler.commit()
        assert queue.get(jobs[1]).status == "completed"


def drive(op: Any, connection: psycopg.Connection[Any]) -> Any:
    """Run an op on a connection that gives up waiting for locks."""
    from jobq.backends._statement import drive as run_op

    def execute(call: Any) -> list[tuple[Any, ...]]:
        cursor = connection.execute(call.sql, call.params)
        return cursor.fetchall() if cursor.description else []

    return run_op(op, execute)


def test_a_rescue_leaves_a_row_that_is_being_committed(
    postgres: str, router: jobq.Router, known: jobq.Handler[dict, dict]
) -> None:
    with jobq.Queue(postgres, router=router) as queue, psycopg.connect(postgres) as handler:
        job = queue.enqueue(known, {})
        (claimed,) = claim(queue, lease=-SECOND)
        assert complete(queue, claimed, handler)
        assert rescue(queue) == []
        handler.commit()
        assert rescue(queue) == []
        assert queue.get(job).result == "mine"
