"""Why a job is not running: a decision about values, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from shlex import quote

from jobq._model import Job, JobStatus, WaitingFor, WorkerInfo
from jobq.cli._output import moment, shortened, span


def why(
    job: Job,
    *,
    paused: bool,
    paused_until: datetime | None,
    workers: Sequence[WorkerInfo],
    now: datetime,
) -> str:
    """Say why a job is not running, and what to do about it.

    `paused` is about the job's queue; `workers` are those that are, or lately were, alive; `now`
    is the database's time.
    """
    alive = [worker for worker in workers if worker.alive]
    if job.status.finished:
        return _finished(job)
    if job.status is JobStatus.PROCESSING:
        return _processing(job, workers, alive, now)
    if job.cancel_requested:
        return "It was asked to cancel, and ends as cancelled as soon as a worker looks at it."
    if job.status is JobStatus.WAITING:
        return (
            "It is parked on work outside and holds no slot; where that work is known to be lost, "
            f"`jobq retry {job.id}` runs it again."
        )
    return (
        _held_back(job, paused, paused_until, now)
        or _without_worker(job, alive)
        or _limited(job, now)
        or _without_slot(job, alive)
    )


def _finished(job: Job) -> str:
    when = moment(job.completed_at or job.updated_at)
    if job.status is JobStatus.COMPLETED:
        return f"It completed at {when}; there is nothing left to do."
    again = f"`jobq retry {job.id}` runs it again"
    if job.status is JobStatus.CANCELLED:
        return f"It was cancelled at {when}; {again}."
    tries = "attempt" if job.attempts == 1 else "attempts"
    return f"It failed at {when} after {job.attempts} {tries}{_reason(job)}; {again}."


def _reason(job: Job) -> str:
    code, error = job.error_code or "", shortened(job.error).rstrip(".")
    reason = error if error.startswith(code) else f"{code}: {error}".rstrip(": ")
    return f" ({reason})" if reason else ""


def _processing(
    job: Job, workers: Sequence[WorkerInfo], alive: Sequence[WorkerInfo], now: datetime
) -> str:
    labels = {worker.id: worker.label for worker in workers}
    holder = labels.get(job.worker or "", job.worker or "unknown")
    if job.lease_until is not None and job.lease_until <= now:
        rest = "another one takes it over within seconds" if alive else _START
        return f"Its worker {holder} stopped renewing its lease; {rest}."
    since = moment(job.started_at or job.updated_at)
    where = f"It is running on worker {holder} since {since}"
    if job.cancel_requested:
        return (
            f"{where}, and was asked to cancel; it ends when its handler does (one that is no "
            "coroutine has to look at job.cancelled)."
        )
    number = f"{job.attempts} of {job.max_attempts}" if job.max_attempts else str(job.attempts)
    return f"{where}: attempt {number}, progress {job.progress} %."


def _held_back(job: Job, paused: bool, paused_until: datetime | None, now: datetime) -> str | None:
    if job.expires_at is not None and job.expires_at <= now:
        when = moment(job.expires_at)
        return f"It expired at {when} before it could start, and a worker will end it as failed."
    if paused:
        until = "" if paused_until is None else f" until {moment(paused_until)}"
        resume = f"`jobq resume {quote(job.queue)}` ends that"
        return f"Its queue {job.queue!r} is paused{until}; {resume}."
    if job.run_at <= now:
        return None
    when = f"{moment(job.run_at)} (in {span((job.run_at - now).total_seconds())})"
    at_once = f"`jobq reschedule {job.id} --delay 0` makes it due now"
    if job.status is JobStatus.RATE_LIMITED:
        return f"A provider refused it for now, and it is tried again at {when}; {at_once}."
    if job.retry_at is not None:
        return f"It was tried before{_reason(job)}, and is tried again at {when}; {at_once}."
    return f"It is not due before {when}; {at_once}."


_START = "start one with `jobq worker module:queue`"


def _without_worker(job: Job, alive: Sequence[WorkerInfo]) -> str | None:
    if not alive:
        return f"No worker is alive; {_START}."
    if not _knowing(job, alive):
        known = sorted({name for worker in alive for name in worker.types})
        return (
            f"No living worker knows the type {job.type!r}, only {_listed(known)}; start one whose "
            "app has a handler for it."
        )
    if not job.declared:
        return (
            f"Its payload was not checked yet, as no handler for {job.type!r} was known where it "
            "was enqueued; a living worker knows the type and will do so in a moment."
        )
    if not _able(job, alive):
        served = sorted({name for worker in _knowing(job, alive) for name in worker.queues})
        return (
            f"No living worker that knows its type serves the queue {job.queue!r}; start one with "
            f"`--queues {quote(job.queue)}`, or move the job with `jobq reschedule {job.id} "
            f"--queue …` to one of {_listed(served)}."
        )
    return None


def _limited(job: Job, now: datetime) -> str | None:
    held = job.waiting_for
    if held is None:
        return None
    place = f", as number {job.position} of those like it" if job.position else ""
    if held.limit.startswith("@") and held.closed:
        return _without_key(held, place, now)
    resume = f"; `jobq limits resume {quote(held.limit)}` opens it" if held.closed else ""
    if held.until is None:
        if held.limit.startswith("@"):
            return (
                f"No living worker holds an open key of the pool {held.limit[1:]!r}{place}; start "
                "one that does, or see `jobq limits` for keys that are benched."
            )
        state = "closed" if held.closed else "fully used"
        return f"The limit {held.limit!r} is {state}{place}{resume}."
    wait = span((held.until - now).total_seconds())
    ahead = "" if job.eta is None else f" and starts in about {span(job.eta)}"
    state = "is closed and opens" if held.closed else "opens"
    return f"It waits for the limit {held.limit!r}, which {state} in {wait}{place}{ahead}{resume}."


def _without_key(held: WaitingFor, place: str, now: datetime) -> str:
    opens = ""
    if held.until is not None:
        opens = f", the first for another {span((held.until - now).total_seconds())}"
    return (
        f"All keys of the pool {held.limit[1:]!r} are closed{opens}{place}; `jobq limits` shows "
        f"why, and `jobq limits resume {held.limit}/NAME` takes a key back that was refused."
    )


def _without_slot(job: Job, alive: Sequence[WorkerInfo]) -> str:
    able = _able(job, alive)
    slots = sum(worker.slots for worker in able)
    hanging = sum(worker.abandoned for worker in able)
    taken = hanging + sum(worker.busy for worker in able)
    if taken < slots:
        return f"It is due and {slots - taken} of {slots} slots are free: a worker picks it up now."
    hang = f", {hanging} of them by handlers that hang" if hanging else ""
    return (
        f"All slots of the workers that could run it are taken ({taken} of {slots}{hang}); it "
        "starts when one is free, or sooner with another worker or a higher --concurrency."
    )


def _knowing(job: Job, workers: Sequence[WorkerInfo]) -> list[WorkerInfo]:
    return [worker for worker in workers if job.type in worker.types]


def _able(job: Job, workers: Sequence[WorkerInfo]) -> list[WorkerInfo]:
    """The workers that know the job's type and serve its queue; no queues means all."""
    knowing = _knowing(job, workers)
    return [worker for worker in knowing if not worker.queues or job.queue in worker.queues]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
