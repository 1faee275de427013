"""Look jobs up. Nothing here scans a whole table: every answer is found by a key or capped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen
from sqlalchemy import Executable, Integer, Text, and_, func, literal_column, or_, select, union_all

from jobq._model import LIVE, Attempt, Counts, Job, JobStatus, Page, instant
from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, is_one_of, number, param, word
from jobq.backends._statement import Op, reading, replanned, statement
from jobq.backends.ops._rows import ATTEMPT, JOB, to_attempt, to_job
from jobq.backends.ops.waiting import annotate

j = t.job.c
CAP = 10_000


@statement
def _get(d: Dialect) -> Executable:
    return select(*d.wires(JOB)).where(j.id == d.id(param("id")))


@reading
def get(d: Dialect, id: str) -> Op[Job | None]:
    rows = yield _get(d, id=id)
    if not rows:
        return None
    [job] = yield from annotate(d, [(to_job(rows[0]), rows[0])])
    return job


@statement
def _get_many(d: Dialect) -> Executable:
    wanted = d.rows("rows", id=Text)
    return select(*d.wires(JOB)).select_from(wanted.join(t.job, j.id == d.id(wanted.c.id)))


@reading
def get_many(d: Dialect, ids: Sequence[str]) -> Op[list[Job]]:
    """The jobs that exist, in the order asked for."""
    rows = yield _get_many(d, rows=dumps([{"id": id} for id in ids]))
    found = yield from annotate(d, [(to_job(row), row) for row in rows])
    jobs = {job.id: job for job in found}
    return [jobs[id] for id in ids if id in jobs]


@statement
def _versions(d: Dialect) -> Executable:
    wanted = d.rows("rows", id=Text)
    found = wanted.join(t.job, j.id == d.id(wanted.c.id))
    return select(*d.wires([j.id, j.version])).select_from(found)


@reading
def versions(d: Dialect, ids: Sequence[str]) -> Op[dict[str, int]]:
    """The versions of the jobs that exist."""
    rows = yield _versions(d, rows=dumps([{"id": id} for id in ids]))
    return dict(rows)


@frozen(kw_only=True)
class Filter:
    """Which jobs; `None` is all."""

    status: tuple[str, ...] | None = None
    type: str | None = None
    queue: str | None = None
    owner: str | None = None
    batch_id: str | None = None

    def equal(self) -> dict[str, str]:
        """The columns that are compared with one value."""
        names = ("type", "queue", "owner", "batch_id")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}


def _conditions(
    d: Dialect, statuses: tuple[str, ...] | None, names: tuple[str, ...]
) -> list[Expression]:
    among = [is_one_of(j.status, statuses)] if statuses is not None else []
    values = {name: d.id(param(name)) if name == "batch_id" else param(name) for name in names}
    return among + [j[name] == value for name, value in values.items()]


@replanned
def _page(
    d: Dialect, statuses: tuple[str, ...] | None, names: tuple[str, ...], after: bool, oldest: bool
) -> Executable:
    page = select(*d.wires(JOB)).where(*_conditions(d, statuses, names))
    if after:
        cursor = d.id(param("after"))
        page = page.where(j.id > cursor if oldest else j.id < cursor)
    return page.order_by(j.id if oldest else j.id.desc()).limit(param("limit", Integer))


@reading
def page(
    d: Dialect, which: Filter, *, limit: int, after: str | None = None, oldest: bool = False
) -> Op[Page]:
    """Jobs by id, newest first; `after` is the id that the page before ended with."""
    equal = which.equal()
    variant = (which.status, tuple(equal), after is not None, oldest)
    rows = yield _page(d, *variant, **equal, after=after, limit=limit + 1)
    jobs = tuple((yield from annotate(d, [(to_job(row), row) for row in rows[:limit]])))
    return Page(jobs=jobs, next=jobs[-1].id if len(rows) > limit else None)


@replanned
def _matching(d: Dialect, statuses: tuple[str, ...], names: tuple[str, ...]) -> Executable:
    found = select(*d.wires([j.id])).where(*_conditions(d, statuses, names))
    return found.order_by(j.id).limit(param("limit", Integer))


@reading
def matching(d: Dialect, which: Filter, *, limit: int) -> Op[list[str]]:
    """The ids of jobs that fit, oldest first."""
    equal = which.equal()
    rows = yield _matching(d, which.status, tuple(equal), **equal, limit=limit)
    return [row[0] for row in rows]


@statement
def _counts(_: Dialect, names: tuple[str, ...]) -> Executable:
    def count(status: JobStatus) -> Any:
        walked = select(j.type, j.queue, j.owner).where(j.status == word(status))
        some = walked.limit(number(CAP)).subquery()
        fitting = [some.c[name] == param(name) for name in names]
        counted = select(func.count()).select_from(some).where(*fitting)
        return select(word(status).label("status"), counted.scalar_subquery().label("count"))

    return union_all(*(count(status) for status in JobStatus))


@reading
def counts(d: Dialect, which: Filter) -> Op[Counts]:
    """How many jobs are in each status, looking at no more than `CAP` of each."""
    equal = which.equal()
    rows = yield _counts(d, tuple(equal), **equal)
    return Counts(cap=CAP, by_status={JobStatus(status): count for status, count in rows})


@statement
def _history(d: Dialect) -> Executable:
    a = t.attempt.c
    attempts = select(*d.wires(ATTEMPT)).where(a.job_id == d.id(param("id")))
    return attempts.order_by(a.started_at, a.ended_at)


@reading
def history(d: Dialect, id: str) -> Op[list[Attempt]]:
    """The ended attempts of a job, oldest first."""
    rows = yield _history(d, id=id)
    return [to_attempt(row) for row in rows]


@frozen(kw_only=True)
class QueueState:
    """A queue that has live jobs, or was paused."""

    queue: str
    paused: bool
    paused_until: datetime | None
    live: Mapping[str, int]


@statement
def paused(d: Dialect) -> Executable:
    q = t.queue.c
    in_force = or_(q.paused_until.is_(None), q.paused_until > d.now())
    return select(q.queue, d.wire(q.paused_until)).where(and_(d.is_set(q.paused), in_force))


@statement
def _live(_: Dialect) -> Executable:
    def some(status: JobStatus) -> Any:
        walked = select(j.queue, j.status).where(j.status == word(status))
        return select(walked.limit(number(CAP)).subquery())

    live = union_all(*(some(status) for status in sorted(LIVE))).subquery()
    grouped = select(live.c.queue, live.c.status, func.count(literal_column("*")))
    return grouped.group_by(live.c.queue, live.c.status)


@reading
def queues(d: Dialect) -> Op[list[QueueState]]:
    """The queues in use, with their live jobs (capped) and pauses."""
    until: dict[str, int] = dict((yield paused(d)))
    live: dict[str, dict[str, int]] = {name: {} for name in until}
    for name, status, count in (yield _live(d)):
        live.setdefault(name, {})[status] = count
    return [
        QueueState(
            queue=name,
            paused=name in until,
            paused_until=instant(until.get(name)),
            live=live[name],
        )
        for name in sorted(live)
    ]


@statement
def _due(d: Dialect) -> Executable:
    walked = select(j.queue, j.run_at).where(j.status == word(JobStatus.PENDING)).order_by(j.id)
    some = walked.limit(number(CAP)).subquery()
    now = d.now()
    first, now.type = func.min(some.c.run_at), j.run_at.type
    first.type = j.run_at.type
    due = select(some.c.queue, d.wire(first), d.wire(now)).where(some.c.run_at <= now)
    return due.group_by(some.c.queue)


@reading
def due(d: Dialect) -> Op[dict[str, float]]:
    """Seconds for which the job that is due longest has been, by queue: of the first `CAP`."""
    return {name: (now - first) / 1_000_000 for name, first, now in (yield _due(d))}


@statement
def _lately(d: Dialect) -> Executable:
    done = select(j.type, *d.wires([j.started_at, j.completed_at]))
    done = done.where(j.status == word(JobStatus.COMPLETED)).order_by(j.id.desc())
    return done.limit(number(500))


@reading
def durations(d: Dialect) -> Op[dict[str, list[float]]]:
    """How many seconds the last attempts of jobs that completed lately took, by type."""
    seconds: dict[str, list[float]] = {}
    for type, started, completed in (yield _lately(d)):
        if started is not None and completed is not None:
            seconds.setdefault(type, []).append((completed - started) / 1_000_000)
    return seconds
