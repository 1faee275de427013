"""Enqueue: one job, or many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any

from attrs import define, frozen
from sqlalchemy import BigInteger, Executable, Integer, SmallInteger, Text, and_, func, select
from sqlalchemy import text as sql

from jobq._clock import to_datetime
from jobq._errors import DuplicateJob
from jobq._model import LIVE, Job, JobStatus
from jobq._payload import dumps, loads
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, is_one_of, number, param
from jobq.backends._statement import Op, knows_again, single, statement
from jobq.backends.ops import read
from jobq.backends.ops._rows import JOB, to_job

CHANNEL = "jobq"


@frozen(kw_only=True, eq=False, slots=False)
class Terms:
    """What a new job has besides its id and payload; those without options share their type's."""

    type: str
    queue: str = "default"
    declared: int = 0
    priority: int = 0
    run_at: int | None = None
    delay: int = 0
    max_attempts: int | None = None
    timeout_ms: int | None = None
    expires_at: int | None = None
    unique_key: str | None = None
    idempotency_key: str | None = None
    idempotency_hash: str | None = None
    owner: str | None = None
    metadata: str | None = None
    keep_seconds: int | None = None
    given: str | None = None
    lane: str | None = None
    costs: str | None = None
    on_ambiguous: str | None = None
    batch_id: str | None = None
    webhook: str | None = None

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """What they give a value for; the rest is left to the columns' defaults."""
        given = dict(zip(ALWAYS, _always(self), strict=True))
        options = zip(SOMETIMES, _sometimes(self), strict=True)
        given |= {name: value for name, value in options if value is not None}
        if self.delay:
            given["delay"] = self.delay
        return given

    def start(self, now: int) -> int:
        """When a job that is stored at `now` may run."""
        return now + self.delay if self.run_at is None else self.run_at


@define(kw_only=True, eq=False)
class NewRow:
    """A job ready to be stored: checked, with JSON as text and times in microseconds."""

    id: str
    payload: str
    terms: Terms

    def params(self) -> dict[str, Any]:
        """What it gives a value for."""
        return {"id": self.id, "payload": self.payload, **self.terms.params}

    def to_job(self, *, created_at: int, run_at: int) -> Job:
        """The job that this row became."""
        terms, created = self.terms, to_datetime(created_at)
        return Job(
            id=self.id,
            type=terms.type,
            queue=terms.queue,
            status=JobStatus.PENDING,
            priority=terms.priority,
            payload=loads(self.payload),
            declared=bool(terms.declared),
            max_attempts=terms.max_attempts,
            timeout=terms.timeout_ms / 1000 if terms.timeout_ms else None,
            unique_key=terms.unique_key,
            owner=terms.owner,
            batch_id=terms.batch_id,
            metadata=loads(terms.metadata) if terms.metadata else {},
            created_at=created,
            updated_at=created,
            run_at=created if run_at == created_at else to_datetime(run_at),
            expires_at=None if terms.expires_at is None else to_datetime(terms.expires_at),
        )


ALWAYS = ("type", "queue", "declared", "priority")
SOMETIMES = (
    "run_at",
    "max_attempts",
    "timeout_ms",
    "expires_at",
    "unique_key",
    "idempotency_key",
    "idempotency_hash",
    "owner",
    "metadata",
    "keep_seconds",
    "given",
    "lane",
    "costs",
    "on_ambiguous",
    "batch_id",
    "webhook",
)
"""What a row may leave out; most leave out most, and that is much quicker."""
_always = attrgetter(*ALWAYS)
_sometimes = attrgetter(*SOMETIMES)
_NAMES = ("id", "payload", *ALWAYS, "delay", *SOMETIMES)
_KEYS = frozenset({"unique_key", "idempotency_key"})
_KINDS = {
    "declared": Integer,
    "priority": SmallInteger,
    "run_at": BigInteger,
    "delay": BigInteger,
    "max_attempts": Integer,
    "timeout_ms": BigInteger,
    "expires_at": BigInteger,
    "keep_seconds": BigInteger,
}


def _stored(d: Dialect, given: dict[str, Expression]) -> dict[str, Any]:
    """The columns of a new row, from what `NewRow.params` gives."""
    stored: dict[str, Any] = {name: given[name] for name in given if name != "delay"}
    stored["id"] = d.id(given["id"])
    stored["declared"] = stored["ready"] = d.flag(given["declared"])
    stored["run_at"] = stored["created_at"] = stored["updated_at"] = d.now()
    if "delay" in given:
        stored["run_at"] = d.later(d.now(), func.coalesce(given["delay"], number(0)))
    if "run_at" in given:
        stored["run_at"] = func.coalesce(d.instant(given["run_at"]), stored["run_at"])
    if "delay" in given or "run_at" in given:
        due = and_(given["declared"] == number(1), stored["run_at"] <= d.now())
        stored["ready"] = d.truth(due)
    if "expires_at" in given:
        stored["expires_at"] = d.instant(given["expires_at"])
    if "batch_id" in given:
        stored["batch_id"] = d.id(given["batch_id"])
    for name in given.keys() & {"payload", "metadata", "costs"}:
        stored[name] = d.json(given[name])
    return stored


def _returning_existing(d: Dialect, insert: Any, names: tuple[str, ...]) -> Any:
    """A conflict of the key updates nothing, but returns (and locks) the job in the way."""
    if "idempotency_key" in names:
        return insert.on_conflict_do_update(
            index_elements=[sql("coalesce(owner, '')"), "idempotency_key"],
            index_where=d.predicate(t.IDEMPOTENT),
            set_={"idempotency_key": insert.excluded.idempotency_key},
        )
    return insert.on_conflict_do_update(
        index_elements=["type", "unique_key"],
        index_where=d.predicate(t.UNIQUE),
        set_={"unique_key": insert.excluded.unique_key},
    )


@statement
def _insert(d: Dialect, names: tuple[str, ...], notify: bool) -> Executable:
    """With nothing to return where there is no more to know than was given."""
    given = {name: param(name, _KINDS.get(name, Text)) for name in names}
    keyed = not _KEYS.isdisjoint(names)
    insert = d.insert(t.job).values(_stored(d, given))
    if keyed:
        insert = _returning_existing(d, insert, names)
    new = (t.job.c.created_at, t.job.c.run_at)
    columns = (*JOB, t.job.c.idempotency_hash) if keyed else new
    if not (keyed or d.has_clock):
        return insert  # type: ignore[no-any-return]
    if not notify:
        return insert.returning(*d.wires(columns))  # type: ignore[no-any-return]
    stored = insert.returning(*columns).cte("new")
    wake = func.pg_notify(CHANNEL, given["queue"])
    return select(*d.wires([stored.c[column.name] for column in columns]), wake)


@single
@knows_again
def insert(d: Dialect, row: NewRow, *, notify: bool = False, again: bool = False) -> Op[Job]:
    """Store a job; where another holds its key, return that one instead.

    The holder of a unique key is alive; that of an idempotency key was asked for with the same
    hash, or `DuplicateJob` is raised.

    `notify` wakes the workers when the transaction commits. `again` says that the same row was
    sent before on a connection that was lost: it may be there already, or arrive any moment.
    """
    if again:
        [job] = yield from insert_many(d, [row], notify=notify, again=True)
        return job
    notify = notify and d.notifies
    terms, params = row.terms, row.params()
    call = _insert(d, tuple(params), notify, **params)
    found = yield call
    if not found:
        now = call.params["now"]
        return row.to_job(created_at=now, run_at=terms.start(now))
    [stored] = found
    if terms.unique_key is not None or terms.idempotency_key is not None:
        job = to_job(stored, created=stored[0] == row.id)
        if terms.idempotency_hash != stored[len(JOB)]:
            key = terms.idempotency_key or ""
            raise DuplicateJob(terms.type, key, job.id, what="idempotency_key")
        return job
    return row.to_job(created_at=stored[0], run_at=stored[1])


@statement
def _insert_many(d: Dialect, names: tuple[str, ...], again: bool) -> Executable:
    source = d.rows("rows", **{name: _KINDS.get(name, Text) for name in names})
    given: dict[str, Any] = {name: source.c[name] for name in names}
    columns = _stored(d, given)
    # SQLite needs a WHERE here to tell ON CONFLICT from the ON of a join.
    values = select(*columns.values()).select_from(source).where(sql("1 = 1"))
    insert = d.insert(t.job).from_select(list(columns), values)
    if again:  # what was sent before may have arrived meanwhile
        insert = insert.on_conflict_do_nothing()
    elif "unique_key" in names:
        insert = insert.on_conflict_do_nothing(
            index_elements=["type", "unique_key"], index_where=d.predicate(t.UNIQUE)
        )
    return insert.returning(*d.wires(JOB))  # type: ignore[no-any-return]


@statement
def _holders(d: Dialect) -> Executable:
    wanted = d.rows("rows", type=Text, unique_key=Text)
    same = and_(t.job.c.type == wanted.c.type, t.job.c.unique_key == wanted.c.unique_key)
    live = (t.job.c.unique_key.is_not(None), is_one_of(t.job.c.status, sorted(LIVE)))
    return select(*d.wires(JOB)).select_from(wanted.join(t.job, same)).where(*live)


@statement
def _notify(d: Dialect) -> Executable:
    queues = d.rows("rows", queue=Text)
    return select(func.pg_notify(CHANNEL, queues.c.queue))


def tell(d: Dialect, queues: Iterable[str]) -> Op[None]:
    """NOTIFY whoever listens that there may be jobs in these queues."""
    yield _notify(d, rows=dumps([{"queue": queue} for queue in queues]))


@knows_again
def insert_many(
    d: Dialect, rows: Sequence[NewRow], *, notify: bool = False, again: bool = False
) -> Op[list[Job]]:
    """Store jobs in one statement; the answers are in the order of `rows`.

    A job whose unique key is held is answered by the live job that holds it. `notify` and `again`
    as in `insert`.
    """
    jobs: dict[str, Job] = {}
    missing = list(rows)
    while missing:
        if again:
            known = yield from read.get_many(d, [row.id for row in missing])
            jobs |= {job.id: job for job in known}
            missing = [row for row in missing if row.id not in jobs]
        if missing:
            jobs |= yield from _insert_or_find(d, missing, again=again)
        # A holder that finished between the two statements left its key free: try again.
        missing = [row for row in missing if row.id not in jobs]
    if notify and d.notifies:
        yield from tell(d, {row.terms.queue for row in rows})
    return [jobs[row.id] for row in rows]


def _insert_or_find(d: Dialect, rows: Sequence[NewRow], *, again: bool) -> Op[dict[str, Job]]:
    params = [row.params() for row in rows]
    names = set().union(*params)
    some = tuple(name for name in _NAMES if name in names)
    stored = yield _insert_many(d, some, again, rows=dumps(params))
    jobs = {row[0]: to_job(row) for row in stored}
    refused = [row for row in rows if row.id not in jobs and row.terms.unique_key is not None]
    if refused:
        keys = [{"type": row.terms.type, "unique_key": row.terms.unique_key} for row in refused]
        holders = yield _holders(d, rows=dumps(keys))
        held = {(row[1], row[19]): row for row in holders}
        found = [(row.id, held.get((row.terms.type, row.terms.unique_key))) for row in refused]
        jobs |= {id: to_job(row, created=row[0] == id) for id, row in found if row is not None}
    return jobs
