"""Look jobs up as operators do. Each answer looks at so many jobs at most, and says so."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen
from sqlalchemy import (
    Executable,
    Integer,
    Text,
    cast,
    func,
    literal_column,
    select,
)

from jobq._model import Job, instant
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, number, param, word
from jobq.backends._statement import Op, reading, replanned, statement
from jobq.backends.ops._rows import JOB, to_job
from jobq.backends.ops.read import CAP
from jobq.backends.ops.waiting import annotate

j = t.job.c
_FIRST_LINE = 300


@frozen(kw_only=True)
class Search:
    """Which jobs; `None` is all. `since` and `until` bound when a job's id was made."""

    status: str | None = None
    type: str | None = None
    queue: str | None = None
    owner: str | None = None
    error_code: str | None = None
    error: str | None = None
    """The name of the exception, which stands before the colon."""
    since: int | None = None
    until: int | None = None

    @property
    def lead(self) -> str | None:
        """The column whose index leads to the jobs, in the order of their ids."""
        return next((name for name in ("owner", "status") if getattr(self, name) is not None), None)

    @property
    def others(self) -> tuple[str, ...]:
        """The columns that found jobs are looked at for."""
        names = ("status", "type", "queue", "owner", "error_code", "error")
        return tuple(n for n in names if getattr(self, n) is not None and n != self.lead)

    def params(self) -> dict[str, Any]:
        names = ("type", "queue", "owner", "error_code", "error")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        bounds = {"since": self.since, "until": self.until}
        return given | {n: _first_id(at) for n, at in bounds.items() if at is not None}


def _first_id(moment: int) -> str:
    """The least id that could have been made at an instant: UUIDv7 begins with milliseconds."""
    digits = format(max(0, min(moment // 1000, (1 << 48) - 1)), "012x")
    return f"{digits[:8]}-{digits[8:]}-0000-0000-000000000000"


@frozen(kw_only=True)
class Found:
    """Some jobs, newest first, and the cursor of the page after."""

    jobs: tuple[Job, ...]
    next: str | None
    exhausted: bool = True
    """Whether everything was looked at; if not, `next` goes on from where that ended."""


def exception_name(d: Dialect, error: Expression) -> Expression:
    """What stands before the first colon of an error."""
    if d.locks_rows:
        return func.split_part(func.substr(error, 1, number(_FIRST_LINE)), literal_column("':'"), 1)
    colon = func.instr(error.op("||")(literal_column("':'")), literal_column("':'"))
    return func.substr(error, 1, colon - number(1))


Variant = tuple[str | None, str | None, tuple[str, ...], tuple[str, ...]]


def _variant(which: Search, after: str | None) -> Variant:
    """What of a search changes the SQL."""
    bounds = {"after": after, "since": which.since, "until": which.until}
    given = tuple(name for name, value in bounds.items() if value is not None)
    return which.lead, which.status, which.others, given


def _candidates(d: Dialect, variant: Variant, columns: Any, cap: Expression) -> Any:
    """The newest jobs that the leading column finds, no more than `cap` of them."""
    lead, status, _, bounds = variant
    found = select(*columns)
    if lead == "status":
        found = found.where(j.status == word(status or ""))
    elif lead == "owner":
        found = found.where(j.owner == param("owner"))
    if "after" in bounds:
        found = found.where(j.id < d.id(param("after")))
    if "since" in bounds:
        found = found.where(j.id >= d.id(param("since")))
    if "until" in bounds:
        found = found.where(j.id < d.id(param("until")))
    return found.order_by(j.id.desc()).limit(cap)


def _ids(d: Dialect, variant: Variant) -> Any:
    """The ids that fit, newest first, of the candidates."""
    others, status = variant[2], variant[1]
    columns = [j.id, *(j[name] for name in others)]
    some = _candidates(d, variant, columns, number(CAP)).subquery("some")
    found = select(some.c.id)
    for name in others:
        column = some.c[name]
        if name == "status":
            found = found.where(column == word(status or ""))
        elif name == "error":
            found = found.where(exception_name(d, column) == param("error"))
        else:
            found = found.where(column == param(name))
    return found.order_by(some.c.id.desc()).limit(param("limit", Integer))


@replanned
def _page(d: Dialect, variant: Variant) -> Executable:
    if not variant[2]:
        return _candidates(d, variant, d.wires(JOB), param("limit", Integer))  # type: ignore[no-any-return]
    ids = _ids(d, variant).subquery("ids")
    return select(*d.wires(JOB)).join(ids, j.id == ids.c.id).order_by(j.id.desc())


@statement
def _edge(d: Dialect, variant: Variant) -> Executable:
    """The last candidate, where there were as many as are looked at."""
    return _candidates(d, variant, d.wires([j.id]), number(1)).offset(number(CAP - 1))  # type: ignore[no-any-return]


@reading
def search(d: Dialect, which: Search, *, limit: int, after: str | None = None) -> Op[Found]:
    """Jobs that fit, newest first, looking at `CAP` candidates at most."""
    variant, params = _variant(which, after), which.params()
    rows = yield _page(d, variant, **params, after=after, limit=limit + 1)
    jobs = tuple((yield from annotate(d, [(to_job(row), row) for row in rows[:limit]])))
    if len(rows) > limit:
        return Found(jobs=jobs, next=jobs[-1].id)
    edge = (yield _edge(d, variant, **params, after=after)) if which.others else []
    return Found(jobs=jobs, next=edge[0][0] if edge else None, exhausted=not edge)


@replanned
def _find(d: Dialect, variant: Variant) -> Executable:
    ids = _ids(d, variant).subquery("ids")
    return select(*d.wires([ids.c.id]))


@reading
def find(d: Dialect, which: Search, *, limit: int) -> Op[list[str]]:
    """The ids of jobs that fit, newest first, looking at `CAP` candidates at most."""
    rows = yield _find(d, _variant(which, None), **which.params(), limit=limit)
    return [row[0] for row in rows]


# --- failures -----------------------------------------------------------------------------------


@frozen(kw_only=True)
class Failures:
    """Failed jobs of one type that failed alike."""

    type: str
    error_code: str | None
    error: str
    count: int
    first: datetime | None
    last: datetime | None
    sample: str
    """The id of the newest of them."""


@statement
def _failures(d: Dialect, bounded: bool) -> Executable:
    variant: Variant = ("status", "failed", (), ("since",) if bounded else ())
    columns = [j.id, j.type, j.error_code, j.error, j.completed_at]
    some = _candidates(d, variant, columns, number(CAP)).subquery("some")
    name = exception_name(d, func.coalesce(some.c.error, literal_column("''"))).label("name")
    named = select(some.c.id, some.c.type, some.c.error_code, name, some.c.completed_at).subquery()
    first, last = func.min(named.c.completed_at), func.max(named.c.completed_at)
    first.type = last.type = j.completed_at.type
    many = func.count(literal_column("*"))
    groups = select(
        named.c.type,
        named.c.error_code,
        named.c.name,
        many,
        d.wire(first),
        d.wire(last),
        func.max(cast(named.c.id, Text)),
    ).group_by(named.c.type, named.c.error_code, named.c.name)
    return groups.order_by(many.desc()).limit(number(200))


@reading
def failures(d: Dialect, *, since: int | None = None) -> Op[list[Failures]]:
    """The newest `CAP` failed jobs by type, error code and exception; the most frequent first."""
    params = Search(since=since).params()
    rows = yield _failures(d, since is not None, **params)
    return [
        Failures(
            type=row[0],
            error_code=row[1],
            error=row[2],
            count=row[3],
            first=instant(row[4]),
            last=instant(row[5]),
            sample=row[6],
        )
        for row in rows
    ]
