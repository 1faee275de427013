"""Enqueueing many jobs at once, and what it has in common with enqueueing one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from jobq import _batch_verbs as batch_verbs
from jobq import backends
from jobq._batch_verbs import Verb
from jobq._config import Config
from jobq._enqueue import job_of, row_of
from jobq._enqueued import Outcome, Outcomes, gathered
from jobq._errors import (
    BackendUnavailable,
    DuplicateJob,
    JobqError,
    OptionError,
    OwnerLimitExceeded,
)
from jobq._model import Job
from jobq._observed import enqueuing
from jobq._payload import loads
from jobq._steps import Bulk, Do, DoOn, Tell
from jobq._wakeup import wake

if TYPE_CHECKING:
    from jobq._owners import Bound
    from jobq.backends.ops.insert import NewRow

CHUNK = 1000


def wake_all(config: Config, queues: Iterable[str]) -> Verb[None]:
    wake(config.backend.identity)
    yield Tell(queues)


def same_payload(row: NewRow, job: Job) -> None:
    """A job that holds the unique key answers for the new one only if it does the same work."""
    if not job.created and row.unique_key is not None and job.payload != loads(row.payload):
        raise DuplicateJob(job.type, row.unique_key or "", job.id)


def enqueue_many(
    config: Config, items: Iterable[Any], connection: Any, batch: Any = None
) -> Verb[list[Outcome] | Outcomes]:
    if batch is not None:
        return (yield from _enqueue_chunk(config, list(items), connection, batch))
    outcomes: list[Outcome] | Outcomes = []
    source = iter(items)
    while chunk := list(islice(source, CHUNK * 10)):
        more = yield from _enqueue_chunk(config, chunk, connection)
        outcomes = gathered(outcomes, more)
    return outcomes


def _enqueue_chunk(
    config: Config, items: list[Any], connection: Any, batch: Any = None
) -> Verb[list[Outcome]]:
    prepared: list[NewRow | Exception] = [_prepared(config, item) for item in items]
    rows = [row for row in prepared if not isinstance(row, Exception)]
    with enqueuing(config.observers, rows, config.bounds.metadata):
        if batch is None:
            stored = yield from _store(config, rows, connection)
        else:
            bounds = bounds_of(config, rows)
            jobs = yield from batch_verbs.store(config, batch, rows, connection, bounds)
            stored = _answers(rows, jobs)
    if rows and connection is None:
        yield from wake_all(config, {row.queue for row in rows})
    outcomes = [
        Outcome(error=row) if isinstance(row, Exception) else stored[row.id] for row in prepared
    ]
    if config.observers:
        for outcome in outcomes:
            if outcome.job is not None:
                config.observers.job_enqueued(outcome.job)
    return outcomes


def bounds_of(config: Config, rows: list[NewRow]) -> dict[str, tuple[Bound, ...]]:
    """How many jobs of one owner may wait, by the types of jobs that have owners."""
    found = {type: config.bounds_of(type) for type in {row.type for row in rows if row.owner}}
    return {type: bounds for type, bounds in found.items() if bounds}


def _store(config: Config, rows: list[NewRow], connection: Any) -> Verb[dict[str, Outcome]]:
    stored: dict[str, Outcome] = {}
    bounds = bounds_of(config, rows)
    if bounds:
        bounded = [row for row in rows if row.owner is not None and row.type in bounds]
        stored |= yield from _store_bounded(bounded, bounds, connection)
        rows = [row for row in rows if row.id not in stored]
    plain = [row for row in rows if row.unique_key is None]
    keyed = [row for row in rows if row.unique_key is not None]
    if connection is not None:
        plain, keyed = [], rows
    if plain:
        stored |= yield from _store_plain(plain)
    for start in range(0, len(keyed), CHUNK):
        stored |= yield from _store_keyed(keyed[start : start + CHUNK], connection)
    return stored


def _store_bounded(
    rows: list[NewRow], bounds: dict[str, tuple[Bound, ...]], connection: Any
) -> Verb[dict[str, Outcome]]:
    op = backends.ops.insert_many_within
    stored: dict[str, Outcome] = {}
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        if connection is None:
            jobs = yield Do(op, some, bounds)
        else:
            jobs = yield DoOn(connection, op, some, bounds, notify=True)
        stored |= _answers(some, jobs)
    return stored


def _prepared(config: Config, item: Any) -> NewRow | Exception:
    try:
        row = row_of(config, item)
    except JobqError as error:
        return error
    if row.idempotency_key is not None:
        return OptionError("idempotency_key is for jobs that are enqueued one by one")
    return row


def _store_plain(rows: list[NewRow]) -> Verb[dict[str, Outcome]]:
    try:
        now = yield Bulk(rows)
    except BackendUnavailable:
        return (yield from _store_keyed(rows, None, again=True))
    return {row.id: _created(row, now) for row in rows}


def _created(row: NewRow, now: int) -> Outcome:
    return Outcome(id=row.id, created=True, read=partial(job_of, row, now))


def _store_keyed(
    rows: list[NewRow], connection: Any, *, again: bool = False
) -> Verb[dict[str, Outcome]]:
    op = backends.ops.insert_many
    if connection is None:
        jobs = yield Do(op, rows, again=again)
    else:
        jobs = yield DoOn(connection, op, rows, notify=True)
    return _answers(rows, jobs)


def _answers(rows: list[NewRow], jobs: Sequence[Job | OwnerLimitExceeded]) -> dict[str, Outcome]:
    return {row.id: _answer(row, job) for row, job in zip(rows, jobs, strict=True)}


def _answer(row: NewRow, job: Job | OwnerLimitExceeded) -> Outcome:
    if isinstance(job, OwnerLimitExceeded):
        return Outcome(error=job)
    try:
        same_payload(row, job)
    except DuplicateJob as error:
        return Outcome(error=error)
    return Outcome(id=job.id, created=job.created, read=lambda: job)
