"""What a queue can do, each verb written once for both faces.

A verb is a generator: it yields steps and receives their answers. A step knows how it is done
synchronously and asynchronously; the verb knows neither.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from datetime import datetime
from typing import Any, TypeVar

from jobq import _batch_verbs as batch_verbs
from jobq import backends
from jobq._checks import priority_number, queue_name, short_text
from jobq._clock import SECOND, from_datetime
from jobq._config import Config
from jobq._enqueue import Rows, span
from jobq._enqueue_many import CHUNK, same_payload, wake_all
from jobq._errors import (
    DuplicateJob,
    IllegalMove,
    JobNotFound,
    OptionError,
    UniqueViolation,
    WaitTimeout,
)
from jobq._model import (
    MOVES,
    Attempt,
    Counts,
    Job,
    JobStatus,
    Page,
    WorkerInfo,
    job_id,
    statuses,
)
from jobq._observed import enqueuing
from jobq._payload import encode_result
from jobq._steps import Do, DoOn, Insert, Rest, Step
from jobq._wakeup import wake

T = TypeVar("T")
Verb = Generator["Step", Any, T]
MANY = 100_000
LOOK_EVERY = 0.15
"""Seconds between looks at most, while somebody waits for a job."""


# --- enqueue ------------------------------------------------------------------------------------


def enqueue(config: Config, item: Any, connection: Any) -> Verb[Job]:
    row = Rows(config).of(item)
    bounds = () if row.terms.owner is None else config.bounds_of(row.terms.type)
    with enqueuing(config.observers, [row], config.bounds.metadata) as told:
        step = Insert(row, bounds)
        if connection is not None:
            job = yield DoOn(connection, step.op, row, notify=True, **step.given)
        else:
            job = yield step
            wake(config.backend.identity)
        for one in told:
            one.id = job.id
    same_payload(row, job)
    if config.observers:
        config.observers.job_enqueued(job)
    return job  # type: ignore[no-any-return]


# --- look ---------------------------------------------------------------------------------------


def get(config: Config, id: Any) -> Verb[Job]:  # noqa: ARG001  every verb takes the configuration
    wanted = job_id(id)
    job = yield Do(backends.ops.get, wanted)
    if job is None:
        raise JobNotFound(wanted)
    return job  # type: ignore[no-any-return]


def get_many(config: Config, ids: Iterable[Any]) -> Verb[list[Job]]:  # noqa: ARG001
    return (yield Do(backends.ops.get_many, [job_id(id) for id in ids]))  # type: ignore[no-any-return]


def _filter(status: Any = None, batch: Any = None, **equal: str | None) -> Any:
    named = {name: short_text(value, name) for name, value in equal.items()}
    batch_id = None if batch is None else job_id(getattr(batch, "id", batch))
    return backends.ops.Filter(status=statuses(status), batch_id=batch_id, **named)


def page(
    config: Config,  # noqa: ARG001
    *,
    limit: int,
    after: Any = None,
    oldest: bool = False,
    **where: Any,
) -> Verb[Page]:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1000:
        raise OptionError(f"limit={limit!r} must be from 1 to 1000; `after` leads to the next page")
    cursor = None if after is None else job_id(after)
    op = backends.ops.page
    return (yield Do(op, _filter(**where), limit=limit, after=cursor, oldest=oldest))  # type: ignore[no-any-return]


def counts(config: Config, **where: Any) -> Verb[Counts]:  # noqa: ARG001
    return (yield Do(backends.ops.counts, _filter(**where)))  # type: ignore[no-any-return]


def history(config: Config, id: Any) -> Verb[list[Attempt]]:
    job = yield from get(config, id)
    return (yield Do(backends.ops.history, job.id))  # type: ignore[no-any-return]


def queues(config: Config) -> Verb[list[Any]]:  # noqa: ARG001
    return (yield Do(backends.ops.queues))  # type: ignore[no-any-return]


def workers(config: Config) -> Verb[list[WorkerInfo]]:  # noqa: ARG001
    return (yield Do(backends.ops.workers))  # type: ignore[no-any-return]


def wait(config: Config, id: Any, timeout: float | None) -> Verb[Job]:
    """The time counts from this call: to open the database is a part of it."""
    deadline = None if timeout is None else time.monotonic() + span(timeout, "timeout") / SECOND
    return _wait_until(config, id, timeout, deadline)


def _wait_until(
    config: Config, id: Any, timeout: float | None, deadline: float | None
) -> Verb[Job]:
    rest = 0.01
    while True:
        job = yield from get(config, id)
        if job.status.finished:
            return job
        if deadline is not None and time.monotonic() >= deadline:
            raise WaitTimeout(job.id, job.status, timeout or 0.0)
        rest = min(rest * 1.5, LOOK_EVERY)
        left = rest if deadline is None else max(0.0, deadline - time.monotonic())
        yield Rest(min(rest, left))


# --- move ---------------------------------------------------------------------------------------


def _refuse(config: Config, id: str, verb: str) -> Verb[Any]:
    """Say why a verb changed nothing."""
    job = yield from get(config, id)
    raise IllegalMove(id, job.status, verb, [str(status) for status in MOVES[verb].sources])


def cancel(config: Config, id: Any) -> Verb[Job]:
    wanted = job_id(id)
    jobs = yield Do(backends.ops.cancel, [wanted], keep=config.keep)
    if not jobs:
        return (yield from _refuse(config, wanted, "cancel"))  # type: ignore[no-any-return]
    config.observers.jobs_changed("cancel", [wanted])
    if jobs[0].status is JobStatus.WAITING:  # its handler is to cancel what it waits for
        yield from wake_all(config, [jobs[0].queue])
    yield from batch_verbs.end_batches(config, jobs)
    return jobs[0]  # type: ignore[no-any-return]


def retry(config: Config, id: Any) -> Verb[Job]:
    wanted = job_id(id)
    jobs = yield from _retry_all(config, [wanted])
    if jobs:
        return jobs[0]
    job = yield from get(config, wanted)
    if job.unique_key is not None and job.status in MOVES["retry"].sources:
        holder = yield Do(backends.ops.duplicate_holder, wanted)
        raise DuplicateJob(job.type, job.unique_key, holder)
    return (yield from _refuse(config, wanted, "retry"))  # type: ignore[no-any-return]


def _retry_all(config: Config, ids: list[str]) -> Verb[list[Job]]:
    try:
        jobs: list[Job] = yield Do(backends.ops.retry, ids)
    except UniqueViolation:  # another job took a key in between: find out which one by one
        if len(ids) == 1:
            return []
        jobs = []
        for id in ids:
            jobs += yield from _retry_all(config, [id])
        return jobs
    if jobs:
        yield from wake_all(config, {job.queue for job in jobs})
        config.observers.jobs_changed("retry", [job.id for job in jobs])
    return jobs


def reschedule(
    config: Config,
    id: Any,
    *,
    run_at: datetime | None,
    delay: Any,
    priority: int | str | None,
    queue: str | None,
) -> Verb[Job]:
    wanted = job_id(id)
    if run_at is not None and delay is not None:
        raise OptionError("give run_at or delay, not both")
    job = yield Do(
        backends.ops.reschedule,
        wanted,
        run_at=None if run_at is None else from_datetime(run_at, name="run_at"),
        delay=None if delay is None else span(delay, "delay"),
        priority=None if priority is None else priority_number(priority),
        queue=short_text(queue, "queue", limit=100),
        anew=queue is not None and bool(config.limits),
    )
    if job is None:
        return (yield from _refuse(config, wanted, "reschedule"))  # type: ignore[no-any-return]
    yield from wake_all(config, [job.queue])
    config.observers.jobs_changed("reschedule", [wanted])
    return job  # type: ignore[no-any-return]


def set_status(
    config: Config, id: Any, status: str, *, result: Any, error: str | None, error_code: str | None
) -> Verb[Job]:
    wanted = job_id(id)
    (target,) = statuses(status) or ()
    if JobStatus(target) not in MOVES["set_status"].targets:
        allowed = ", ".join(MOVES["set_status"].targets)
        raise OptionError(f"set_status sets {allowed}; {status!r} is for workers alone")
    job = yield Do(
        backends.ops.set_status,
        wanted,
        status=target,
        result=None if result is None else encode_result(result, limit=config.bounds.result),
        error=short_text(error, "error", limit=config.bounds.error, at_least=0),
        error_code=short_text(error_code, "error_code"),
        keep=config.keep,
    )
    if job is None:
        return (yield from _refuse(config, wanted, "set_status"))  # type: ignore[no-any-return]
    yield from wake_all(config, [job.queue])
    config.observers.jobs_changed("set_status", [wanted])
    yield from batch_verbs.end_batches(config, [job])
    return job  # type: ignore[no-any-return]


def set_progress(config: Config, id: Any, progress: int, message: str | None) -> Verb[Job]:
    wanted = job_id(id)
    if isinstance(progress, bool) or not isinstance(progress, int) or not 0 <= progress <= 100:
        raise OptionError(f"progress={progress!r} must be an integer from 0 to 100")
    note = short_text(message, "message", limit=config.bounds.error, at_least=0)
    job = yield Do(backends.ops.set_progress, wanted, progress=progress, message=note)
    if job is None:
        found = yield from get(config, wanted)
        live = [str(s) for s in JobStatus if not s.finished]
        raise IllegalMove(wanted, found.status, "set the progress of", live)
    config.observers.jobs_changed("set_progress", [wanted])
    return job  # type: ignore[no-any-return]


def delete(config: Config, id: Any) -> Verb[None]:
    wanted = job_id(id)
    deleted = yield Do(backends.ops.delete, [wanted])
    if not deleted:
        yield from _refuse(config, wanted, "delete")
    config.observers.jobs_changed("delete", [wanted])


def for_each(config: Config, verb: str, *, dry_run: bool, **where: Any) -> Verb[int]:
    """Cancel, retry or delete all jobs that fit and may be; how many (were, or would be)."""
    which = _filter(**where)
    allowed = tuple(str(status) for status in MOVES[verb].sources)
    asked = which.status if which.status is not None else allowed
    which = _filter(
        [status for status in asked if status in allowed],
        type=which.type,
        queue=which.queue,
        owner=which.owner,
        batch=which.batch_id,
    )
    ids = (yield Do(backends.ops.matching, which, limit=MANY)) if which.status else []
    if dry_run:
        return len(ids)
    return (yield from move_many(config, verb, ids))


def move_many(config: Config, verb: str, ids: list[str]) -> Verb[int]:
    """Cancel, retry or delete those of these jobs that may be; how many were."""
    moved = 0
    for start in range(0, len(ids), CHUNK):
        some = ids[start : start + CHUNK]
        if verb == "retry":
            moved += len((yield from _retry_all(config, some)))
        elif verb == "cancel":
            jobs = yield Do(backends.ops.cancel, some, keep=config.keep)
            yield from batch_verbs.end_batches(config, jobs)
            moved += len(jobs)
        else:
            moved += len((yield Do(backends.ops.delete, some)))
    if verb != "retry":
        config.observers.jobs_changed(verb, ids)
    return moved


def cleanup_old_jobs(config: Config, days: float) -> Verb[int]:
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 <= days <= 100_000:
        raise OptionError(f"days={days!r} must be a number from 0 to 100000")
    age = round(days * 86400 * SECOND)
    deleted = 0
    while ids := (yield Do(backends.ops.prune, age=age)):
        deleted += len(ids)
        config.observers.jobs_changed("prune", ids)
    return deleted


def pause(config: Config, queue: str, until: Any) -> Verb[None]:
    moment = None if until is None else from_datetime(until, name="until")
    yield Do(backends.ops.pause, queue_name(queue), until=moment)
    config.observers.queue_changed("pause", queue)


def resume(config: Config, queue: str) -> Verb[None]:
    yield Do(backends.ops.resume, queue_name(queue))
    yield from wake_all(config, [queue])
    config.observers.queue_changed("resume", queue)
