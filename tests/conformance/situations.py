"""Bring a queue into a situation, below the worker: single claims, outcomes and SQL."""

from __future__ import annotations

from typing import Any

import jobq
from jobq._model import JobStatus
from jobq._outcome import Transition
from jobq.backends import ops
from jobq.backends._statement import Call, reading
from jobq.backends.ops.claim import Claimed

SECOND = 1_000_000
LEASE = 30 * SECOND
MARGIN = 10 * SECOND
TYPE = "work"
COMPLETED = Transition(status=JobStatus.COMPLETED, outcome="completed", result="null")
FAILED = Transition(status=JobStatus.FAILED, outcome="failed", error="no", error_code="NoError")
RETRIED = Transition(status=JobStatus.PENDING, outcome="retried", error="again")


def run(queue: jobq.Queue, op: Any, *args: Any, **kwargs: Any) -> Any:
    """Run one of jobq's units of work, as a worker does."""
    return queue._store().run(op, *args, **kwargs)


def sql(queue: jobq.Queue, text: str) -> list[tuple[Any, ...]]:
    """Run one statement that both databases understand; the rows, if it has some."""

    def op(_: Any) -> Any:
        return (yield Call(text, {}))

    rows: list[tuple[Any, ...]] = run(queue, reading(op) if text.startswith("SELECT") else op)
    return rows


def claim(
    queue: jobq.Queue,
    *,
    types: tuple[str, ...] = (TYPE,),
    queues: tuple[str, ...] = ("default",),
    slots: int = 1,
    worker: str = "worker-1",
    lease: int = LEASE,
) -> list[Claimed]:
    """What a worker would get; due jobs are made claimable first."""
    run(queue, ops.promote)
    names: dict[str, Any] = {"queues": queues, "types": types}
    claimed: list[Claimed] = run(
        queue, ops.claim, **names, slots=slots, worker=worker, lease=lease, margin=MARGIN
    )
    return claimed


def ending(claimed: Claimed, transition: Transition) -> ops.Ending:
    return ops.Ending(
        claimed.id, claimed.fence, claimed.attempts, claimed.started_at, "worker-1", transition
    )


def finish(
    queue: jobq.Queue, claimed: Claimed, transition: Transition = COMPLETED, **options: Any
) -> dict[str, str]:
    """End an attempt as a worker does: the id and status of the job, if the claim was valid."""
    done: dict[str, str] = run(
        queue, ops.finish, [ending(claimed, transition)], keep=queue._config.keep, **options
    )
    return done


def job_in(queue: jobq.Queue, status: str, **options: Any) -> jobq.Job:
    """A job of type `work` in a status."""
    job = queue.enqueue(TYPE, {}, **options)
    match status:
        case "pending":
            pass
        case "cancelled":
            queue.cancel(job.id)
        case "rate_limited" | "waiting":
            (claimed,) = claim(queue)
            assert claimed.id == job.id
            resting = Transition(status=JobStatus(status), outcome=status, delay=SECOND)
            finish(queue, claimed, resting)
        case _:
            (claimed,) = claim(queue)
            assert claimed.id == job.id
            if status != "processing":
                finish(queue, claimed, {"completed": COMPLETED, "failed": FAILED}[status])
    found = queue.get(job.id)
    assert found.status == status
    return found
