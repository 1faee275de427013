"""Enqueueing many jobs at once, and what it has in common with enqueueing one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from attrs import frozen

from jobq import _batch_verbs as batch_verbs
from jobq import backends
from jobq._batch_verbs import Verb
from jobq._config import Config
from jobq._enqueue import Rows, job_of
from jobq._enqueued import KEPT, Looked, Outcome, Outcomes
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
from jobq._series import Series
from jobq._steps import Bulk, Do, DoOn, Tell
from jobq._wakeup import wake

if TYPE_CHECKING:
    from jobq._owners import Bound
    from jobq.backends.ops.insert import NewRow

CHUNK = 1000


@frozen(kw_only=True, eq=False, repr=False)
class Stored(Looked):
    """The outcomes of items that were stored together."""

    rows: Sequence[NewRow | Exception]
    """What each item was, or why it is nothing that could be stored."""
    answers: Mapping[str, Outcome]
    """What the database said, by the ids of rows; nothing of those that simply were stored."""
    now: int | None
    """When those were."""

    def __repr__(self) -> str:
        return repr(list(self))

    def __len__(self) -> int:
        return len(self.rows)

    def _at(self, place: int) -> Outcome:
        return self._outcome(self.rows[place])

    def __iter__(self) -> Iterator[Outcome]:
        return map(self._outcome, self.rows)

    def _outcome(self, row: NewRow | Exception) -> Outcome:
        if isinstance(row, Exception):
            return Outcome(error=row)
        return self.answers.get(row.id) or self._created(row)

    def _created(self, row: NewRow) -> Outcome:
        assert self.now is not None
        return Outcome(id=row.id, created=True, read=partial(job_of, row, self.now))

    def special(self) -> Iterator[tuple[int, Outcome]]:
        """The places of errors and of jobs that were there already."""
        for place, row in enumerate(self.rows):
            if isinstance(row, Exception):
                yield place, Outcome(error=row)
            elif (answer := self.answers.get(row.id)) is not None and not answer.created:
                yield place, Outcome(id=answer.id, error=answer.error)


def wake_all(config: Config, queues: Iterable[str]) -> Verb[None]:
    wake(config.backend.identity)
    yield Tell(queues)


def same_payload(row: NewRow, job: Job) -> None:
    """A job that holds the unique key answers for the new one only if it does the same work."""
    if not job.created and row.terms.unique_key is not None and job.payload != loads(row.payload):
        raise DuplicateJob(job.type, row.terms.unique_key or "", job.id)


def enqueue_many(
    config: Config, items: Iterable[Any], connection: Any, batch: Any = None
) -> Verb[Sequence[Outcome]]:
    if batch is not None:
        make = Rows(config)
        whole = [_prepared(make, item) for item in items]
        return (yield from _stored(config, whole, connection, batch))
    source = iter(items)
    outcomes = Outcomes()
    last: Stored | None = None
    for item in source:
        last = rows = None  # free before the next ones are made
        make, ids, some = Rows(config), Series(), chain((item,), islice(source, KEPT - 1))
        rows = [_prepared(make, each, id) for id, each in zip(ids, some)]  # noqa: B905
        last = yield from _stored(config, rows, connection)
        outcomes.extend(ids, len(rows), last.special())
    if len(outcomes) > KEPT:
        return outcomes
    return last or []


def _stored(
    config: Config, prepared: list[NewRow | Exception], connection: Any, batch: Any = None
) -> Verb[Stored]:
    rows = [row for row in prepared if not isinstance(row, Exception)]
    with enqueuing(config.observers, rows, config.bounds.metadata):
        if batch is None:
            answers, now = yield from _store(config, rows, connection)
        else:
            bounds = bounds_of(config, rows)
            jobs = yield from batch_verbs.store(config, batch, rows, connection, bounds)
            answers, now = _answers(rows, jobs), None
    if rows and connection is None:
        yield from wake_all(config, {row.terms.queue for row in rows})
    stored = Stored(rows=prepared, answers=answers, now=now)
    if config.observers:
        for outcome in stored:
            if outcome.job is not None:
                config.observers.job_enqueued(outcome.job)
    return stored


def bounds_of(config: Config, rows: list[NewRow]) -> dict[str, tuple[Bound, ...]]:
    """How many jobs of one owner may wait, by the types of jobs that have owners."""
    owned = {row.terms.type for row in rows if row.terms.owner}
    found = {type: config.bounds_of(type) for type in owned}
    return {type: bounds for type, bounds in found.items() if bounds}


def _store(
    config: Config, rows: list[NewRow], connection: Any
) -> Verb[tuple[dict[str, Outcome], int | None]]:
    """Answers by the ids of rows, and when those without one were stored."""
    answers: dict[str, Outcome] = {}
    now: int | None = None
    bounds = bounds_of(config, rows)
    if bounds:
        bounded = [row for row in rows if row.terms.owner is not None and row.terms.type in bounds]
        answers |= yield from _store_bounded(bounded, bounds, connection)
        rows = [row for row in rows if row.id not in answers]
    plain = [row for row in rows if row.terms.unique_key is None and connection is None]
    keyed = [row for row in rows if row.terms.unique_key is not None or connection is not None]
    if plain:
        try:
            now = yield Bulk(plain)
        except BackendUnavailable:
            answers |= yield from _store_keyed(plain, None, again=True)
    for start in range(0, len(keyed), CHUNK):
        answers |= yield from _store_keyed(keyed[start : start + CHUNK], connection)
    return answers, now


def _store_bounded(
    rows: list[NewRow], bounds: dict[str, tuple[Bound, ...]], connection: Any
) -> Verb[dict[str, Outcome]]:
    op = backends.ops.insert_many_within
    answers: dict[str, Outcome] = {}
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        if connection is None:
            jobs = yield Do(op, some, bounds)
        else:
            jobs = yield DoOn(connection, op, some, bounds, notify=True)
        answers |= _answers(some, jobs)
    return answers


def _prepared(make: Rows, item: Any, id: str | None = None) -> NewRow | Exception:
    try:
        row = make.of(item, id)
    except JobqError as error:
        return error
    if row.terms.idempotency_key is not None:
        return OptionError("idempotency_key is for jobs that are enqueued one by one")
    return row


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
