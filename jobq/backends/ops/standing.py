"""How a queue stands, for those who look at it: each answer is capped, or found by a key."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen
from sqlalchemy import Executable, case, func, literal_column, null, or_, select, union_all

from jobq._model import Counts, JobStatus, instant
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, param, word
from jobq.backends._statement import Op, reading, statement
from jobq.backends.ops._rows import loads
from jobq.backends.ops.read import CAP, paused

j = t.job.c


# --- counts -------------------------------------------------------------------------------------


@statement
def _counts(_: Dialect) -> Executable:
    def count(status: JobStatus) -> Any:
        walked = select(j.id).where(j.status == word(status)).order_by(j.id.desc())
        some = walked.limit(number(CAP)).subquery()
        counted = select(func.count(literal_column("*"))).select_from(some)
        return select(word(status).label("status"), counted.scalar_subquery().label("count"))

    return union_all(*(count(status) for status in JobStatus))


@reading
def status_counts(d: Dialect) -> Op[Counts]:
    """How many jobs are in each status, up to `CAP`; an index alone answers it."""
    rows = yield _counts(d)
    return Counts(cap=CAP, by_status={JobStatus(status): count for status, count in rows})


# --- queues -------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Depth:
    """How many of a queue's jobs of a type are in a status, of the oldest `CAP` that are in it."""

    queue: str
    type: str
    status: str
    count: int
    oldest: datetime | None
    """When the one that could have started first became due."""


@statement
def _depths(d: Dialect) -> Executable:
    def some(status: str) -> Any:
        due = case((d.is_set(j.ready), j.run_at), else_=null())
        due.type = j.run_at.type
        walked = select(j.queue, j.type, j.status, due.label("due")).where(j.status == word(status))
        return select(walked.order_by(j.id).limit(number(CAP)).subquery(status))

    live = [some(s) for s in ("pending", "processing", "rate_limited", "waiting")]
    all_live = live[0].union_all(*live[1:]).subquery("live")
    oldest = func.min(all_live.c.due)
    oldest.type = j.run_at.type
    columns = (all_live.c.queue, all_live.c.type, all_live.c.status)
    return select(*columns, func.count(literal_column("*")), d.wire(oldest)).group_by(*columns)


@reading
def depths(d: Dialect) -> Op[list[Depth]]:
    """The live jobs of each queue and type by status, of the oldest `CAP` in each status."""
    rows = yield _depths(d)
    return [
        Depth(queue=r[0], type=r[1], status=r[2], count=r[3], oldest=instant(r[4])) for r in rows
    ]


@reading
def paused_queues(d: Dialect) -> Op[dict[str, datetime | None]]:
    """The queues that are paused, and until when, where that is known."""
    return {name: instant(until) for name, until in (yield paused(d))}


# --- steps --------------------------------------------------------------------------------------


@frozen(kw_only=True)
class StepDone:
    """What is recorded of one step of a job, or of something that it waits for."""

    name: str
    status: str
    result: Any
    error: str | None
    deadline: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


@statement
def _steps(d: Dialect) -> Executable:
    s = t.step.c
    columns = (s.name, s.status, s.result, s.error, s.deadline, s.started_at, s.finished_at)
    steps = select(*d.wires(columns)).where(s.job_id == d.id(param("id")))
    return steps.order_by(s.started_at, s.name)


@reading
def steps_done(d: Dialect, id: str) -> Op[list[StepDone]]:
    """The steps of a job in the order in which they began."""
    return [
        StepDone(
            name=row[0],
            status=row[1],
            result=loads(row[2]),
            error=row[3],
            deadline=instant(row[4]),
            started_at=instant(row[5]),
            finished_at=instant(row[6]),
        )
        for row in (yield _steps(d, id=id))
    ]


# --- limits -------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Closed:
    """A limit that an operator or a provider's refusal has closed."""

    key: str
    until: datetime | None
    reason: str | None


@statement
def _closed(d: Dialect) -> Executable:
    c = t.limit.c
    is_closed = or_(d.is_set(c.paused), c.blocked_until > d.now())
    found = select(c.key, d.wire(c.blocked_until), c.reason).where(is_closed)
    return found.order_by(c.key).limit(number(20))


@reading
def closed_limits(d: Dialect) -> Op[list[Closed]]:
    """The first of those limits that are closed."""
    rows = yield _closed(d)
    return [Closed(key=row[0], until=instant(row[1]), reason=row[2]) for row in rows]
