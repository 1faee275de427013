"""What observers are told about attempts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from jobq._clock import SECOND
from jobq._outcome import Transition
from jobq._payload import loads
from jobq._worker.running import Running
from jobq.observe import Attempted, Attempting, Observers

_NOTHING = nullcontext()


def tell_started(observers: Observers, running: Running) -> None:
    """A handler is about to be called."""
    if observers:
        observers.job_started(running.job.id, running.job.type, running.job.attempts)


def attempting(observers: Observers, jobs: Sequence[Running]) -> AbstractContextManager[object]:
    """What observers have around the call of a handler."""
    if not observers or not observers.have("attempting"):
        return _NOTHING
    return observers.around("attempting", [_about(running) for running in jobs])


def _about(running: Running) -> Attempting:
    job = running.job
    return Attempting(
        job_id=job.id,
        type=job.type,
        queue=job.queue,
        attempt=job.attempts,
        worker=running.worker or "",
        metadata={} if job.metadata is None else loads(job.metadata),
        waited=_waited(running),
    )


def _waited(running: Running) -> float:
    job = running.job
    return max(0.0, (job.started_at - max(job.run_at, job.created_at)) / SECOND)


def tell(
    observers: Observers, running: Running, transition: Transition, status: str, seconds: float
) -> None:
    """An attempt's outcome was stored."""
    job = running.job
    observers.job_moved(job.id, job.type, transition, seconds)
    if observers.have("attempted"):
        attempted = Attempted(
            job_id=job.id,
            type=job.type,
            queue=job.queue,
            attempt=job.attempts,
            outcome=transition.outcome,
            status=status,
            error_code=transition.error_code,
            seconds=seconds,
            waited=_waited(running),
            error=transition.error,
        )
        observers.attempted(attempted)
