"""The queue against a small model of it, under any order of calls."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import Factory, define
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import jobq
from jobq import MOVES
from jobq._outcome import CRASHES_ALLOWED, Outcome, Raised, Released, Standing, Succeeded, decide
from jobq._signals import Permanent, Snooze
from jobq._worker.upkeep import after_crash
from jobq.backends import ops
from jobq.backends.ops.claim import Claimed
from jobq.testing import FrozenClock
from tests.conformance.situations import LEASE, SECOND, TYPE, claim, finish, run, sql

BACKOFF = 7
SNOOZE = 20
LIVE = ("pending", "processing")
FINISHED = ("completed", "failed", "cancelled")

OUTCOMES: dict[str, Outcome] = {
    "returns": Succeeded("null"),
    "raises": Raised(OSError(), "OSError", "OSError"),
    "gives up": Raised(Permanent("no"), "no", "no"),
    "snoozes": Raised(Snooze(SNOOZE), "later", "Snooze"),
    "is released": Released("shutdown"),
}
POLICY = jobq.Retry(backoff=jobq.Fixed(BACKOFF))


@define
class Model:
    """What a job ought to be."""

    id: str
    payload: int
    run_at: datetime
    priority: int
    max_attempts: int
    unique_key: str | None
    expires_at: datetime | None
    status: str = "pending"
    attempts: int = 0
    crash_count: int = 0
    snoozed_count: int = 0
    released_count: int = 0
    cancel_requested: bool = False
    fence: int | None = None
    """Of the claim that is running."""
    lease_until: datetime | None = None
    history: list[str] = Factory(list)

    def goes_back(self, run_at: datetime) -> None:
        """Another attempt, unless someone has cancelled the job."""
        self.status = "cancelled" if self.cancel_requested else "pending"
        if not self.cancel_requested:
            self.run_at = run_at
        self.leaves_worker()

    def ends(self, status: str) -> None:
        self.status = status
        self.leaves_worker()

    def leaves_worker(self) -> None:
        self.fence = self.lease_until = None


class QueueMachine(RuleBasedStateMachine):
    """Every rule does the same to the queue and to its model."""

    queue: jobq.Queue
    clock: FrozenClock
    jobs = Bundle("jobs")
    claims = Bundle("claims")

    @initialize()
    def begin(self) -> None:
        sql(self.queue, "DELETE FROM jobq_job")
        sql(self.queue, "DELETE FROM jobq_attempt")
        self.models: dict[str, Model] = {}

    @property
    def now(self) -> datetime:
        return self.clock.time

    def holder(self, key: str | None, besides: str = "") -> Model | None:
        return next(
            (
                model
                for model in self.models.values()
                if key and model.unique_key == key and model.status in LIVE and model.id != besides
            ),
            None,
        )

    # --- calls from outside ---------------------------------------------------------------------

    @rule(
        target=jobs,
        payload=st.integers(0, 1),
        priority=st.integers(-1, 1),
        delay=st.sampled_from([0, 0, 5, 60]),
        key=st.sampled_from([None, None, "a", "b"]),
        max_attempts=st.integers(1, 4),
        expires_in=st.sampled_from([None, None, 30]),
    )
    def enqueue(
        self,
        payload: int,
        priority: int,
        delay: int,
        key: str | None,
        max_attempts: int,
        expires_in: int | None,
    ) -> Any:
        expires_at = None if expires_in is None else self.now + timedelta(seconds=expires_in)
        options: dict[str, Any] = {
            "priority": priority,
            "delay": delay,
            "unique_key": key,
            "max_attempts": max_attempts,
            "expires_at": expires_at,
        }
        given = {name: value for name, value in options.items() if value is not None}
        holder = self.holder(key)
        if holder is not None and holder.payload != payload:
            with pytest.raises(jobq.DuplicateJob) as caught:
                self.queue.enqueue(TYPE, payload, **given)
            assert caught.value.existing_id == holder.id
            return multiple()
        job = self.queue.enqueue(TYPE, payload, **given)
        assert job.created == (holder is None)
        if holder is not None:
            assert job.id == holder.id
            return multiple()
        run_at = self.now + timedelta(seconds=delay)
        self.models[job.id] = Model(
            job.id, payload, run_at, priority, max_attempts, key, expires_at
        )
        return job.id

    def attempt(self, verb: str, id: str, **options: Any) -> Model | None:
        """Call a verb; the model if the move is legal, otherwise after the error that says so."""
        model = self.models.get(id)
        call = getattr(self.queue, verb)
        if model is None:
            with pytest.raises(jobq.JobNotFound):
                call(id, **options)
            return None
        if model.status not in MOVES[verb].sources:
            with pytest.raises(jobq.IllegalMove) as caught:
                call(id, **options)
            assert (caught.value.status, caught.value.verb) == (model.status, verb)
            return None
        if verb == "retry" and (holder := self.holder(model.unique_key, besides=id)) is not None:
            with pytest.raises(jobq.DuplicateJob) as duplicate:
                call(id)
            assert duplicate.value.existing_id == holder.id
            return None
        call(id, **options)
        return model

    @rule(id=jobs)
    def cancel(self, id: str) -> None:
        model = self.attempt("cancel", id)
        if model is not None:
            if model.status == "processing":
                model.cancel_requested = True
            else:
                model.ends("cancelled")

    @rule(id=jobs)
    def retry(self, id: str) -> None:
        model = self.attempt("retry", id)
        if model is not None:
            self.is_disowned(model)
            model.attempts = model.crash_count = 0
            model.cancel_requested = False
            if model.expires_at is not None and model.expires_at <= self.now:
                model.expires_at = None
            model.goes_back(self.now)

    @rule(id=jobs, status=st.sampled_from([str(status) for status in MOVES["set_status"].targets]))
    def set_status(self, id: str, status: str) -> None:
        model = self.attempt("set_status", id, status=status)
        if model is not None:
            self.is_disowned(model)
            model.cancel_requested = False
            if status == "pending":
                model.goes_back(self.now)
            else:
                model.ends(status)

    def is_disowned(self, model: Model) -> None:
        if model.status == "processing":
            model.history.append("disowned")

    @rule(id=jobs, delay=st.sampled_from([0, 10]), priority=st.integers(-1, 1))
    def reschedule(self, id: str, delay: int, priority: int) -> None:
        model = self.attempt("reschedule", id, delay=delay, priority=priority)
        if model is not None:
            model.run_at, model.priority = self.now + timedelta(seconds=delay), priority

    @rule(id=jobs)
    def delete(self, id: str) -> None:
        if self.attempt("delete", id) is not None:
            del self.models[id]

    # --- what workers do ------------------------------------------------------------------------

    @rule(target=claims, slots=st.integers(1, 3))
    def claim(self, slots: int) -> Any:
        due = [m for m in self.models.values() if m.status == "pending" and m.run_at <= self.now]
        due.sort(key=lambda m: (-m.priority, m.run_at, m.id))
        claimed = claim(self.queue, slots=slots)
        assert [job.id for job in claimed] == [model.id for model in due[:slots]]
        for job in claimed:
            model = self.models[job.id]
            model.status, model.fence = "processing", job.fence
            model.attempts += 1
            model.lease_until = self.now + timedelta(microseconds=LEASE)
        return multiple(*claimed)

    def held(self, claimed: Claimed) -> Model | None:
        model = self.models.get(claimed.id)
        return model if model is not None and model.fence == claimed.fence else None

    @rule(claimed=claims, how=st.sampled_from(sorted(OUTCOMES)))
    def finish(self, claimed: Claimed, how: str) -> None:
        standing = Standing(
            attempts=claimed.attempts,
            max_attempts=claimed.max_attempts,
            crash_count=claimed.crash_count,
        )
        accepted = finish(self.queue, claimed, decide(OUTCOMES[how], standing, POLICY, 0.5))
        model = self.held(claimed)
        if model is None:
            assert accepted == {}
            return
        match how:
            case "returns":
                model.ends("completed")
                model.history.append("completed")
            case "snoozes":
                model.attempts -= 1
                model.snoozed_count += 1
                model.goes_back(self.now + timedelta(seconds=SNOOZE))
                model.history.append("snoozed")
            case "is released":
                model.attempts -= 1
                model.released_count += 1
                model.goes_back(self.now)
                model.history.append("released")
            case "raises" if model.attempts < model.max_attempts:
                model.goes_back(self.now + timedelta(seconds=BACKOFF))
                model.history.append("retried")
            case _:
                model.ends("failed")
                model.history.append("failed")
        assert accepted == {model.id: model.status}

    @rule(claimed=claims)
    def renew(self, claimed: Claimed) -> None:
        model = self.held(claimed)
        held = [(claimed.id, claimed.fence)]
        (renewal,) = run(self.queue, ops.renew, held, lease=LEASE, margin=10 * SECOND)
        assert renewal.held == (model is not None)
        if model is not None:
            assert renewal.cancel_requested == model.cancel_requested
            model.lease_until = self.now + timedelta(microseconds=LEASE)

    @rule()
    def rescue(self) -> None:
        rescued = run(self.queue, ops.rescue, after_crash, keep=None)
        lost = [m for m in self.models.values() if m.lease_until and m.lease_until < self.now]
        assert [orphan.id for orphan, _ in rescued] == sorted(model.id for model in lost)
        for model in lost:
            model.crash_count += 1
            if model.crash_count >= CRASHES_ALLOWED or model.attempts >= model.max_attempts:
                model.ends("failed")
                model.history.append("failed")
            else:
                model.goes_back(self.now)
                model.history.append("crashed")

    @rule()
    def expire(self) -> None:
        expired = run(self.queue, ops.expire, keep=None)
        late = [
            model
            for model in self.models.values()
            if model.status == "pending" and model.expires_at and model.expires_at <= self.now
        ]
        assert sorted(expired) == sorted(model.id for model in late)
        for model in late:
            model.ends("failed")

    @rule(seconds=st.sampled_from([0.000001, 1, 7, 31]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # --- what always holds ----------------------------------------------------------------------

    @invariant()
    def the_queue_is_as_its_model_says(self) -> None:
        jobs = {job.id: job for job in self.queue.list(limit=1000).jobs}
        assert jobs.keys() == self.models.keys()
        for id, model in self.models.items():
            job = jobs[id]
            for name in (
                "status",
                "attempts",
                "run_at",
                "priority",
                "expires_at",
                "lease_until",
                "crash_count",
                "snoozed_count",
                "released_count",
                "cancel_requested",
            ):
                assert getattr(job, name) == getattr(model, name), name
            assert (job.completed_at is not None) == (model.status in FINISHED)

    @invariant()
    def no_key_has_two_holders(self) -> None:
        keys = [m.unique_key for m in self.models.values() if m.unique_key and m.status in LIVE]
        assert len(keys) == len(set(keys))

    def teardown(self) -> None:
        for id, model in getattr(self, "models", {}).items():
            assert sorted(a.outcome for a in self.queue.history(id)) == sorted(model.history)


@pytest.mark.timeout(180)
def test_the_queue_behaves_as_its_model(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    class Machine(QueueMachine):
        pass

    Machine.queue, Machine.clock = frozen, clock
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
