"""The ledger of what jobs have spent: record a request, and add up."""

from __future__ import annotations

from typing import Any

from attrs import asdict, frozen
from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    Text,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
)

from jobq._spend import Budget, Recorded, Sums
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, number, param
from jobq.backends._statement import Op, atomic, knows_again, reading, replanned, statement
from jobq.backends.ops._moves import clock

s = t.spend.c
QUARTER = 15 * 60 * 1_000_000
"""Time zones differ by whole quarters of an hour: these can be put together to anyone's days."""


@frozen(kw_only=True)
class SpendRow:
    """A request that cost money, ready to be stored."""

    id: str
    provider: str
    request_id: str | None
    micros: int
    model: str | None
    units: str | None
    job_id: str
    type: str
    queue: str
    owner: str | None
    attempt: int
    fence: int
    worker: str | None


_KINDS = {"micros": BigInteger, "attempt": Integer, "fence": BigInteger}


@statement
def _record(d: Dialect) -> Executable:
    names = SpendRow.__attrs_attrs__
    values: dict[str, Any] = {a.name: param(a.name, _KINDS.get(a.name, Text)) for a in names}
    values["id"], values["job_id"] = d.id(values["id"]), d.id(values["job_id"])
    values["units"] = d.json(values["units"])
    insert = d.insert(t.spend).values(**values, spent_at=d.now()).on_conflict_do_nothing()
    return insert.returning(d.wire(s.spent_at))  # type: ignore[no-any-return]


@statement
def _known(d: Dialect) -> Executable:
    same = (s.provider == param("provider")) & (s.request_id == param("request_id"))
    known = or_(s.id == d.id(param("id")), same & d.predicate(t.REQUESTED))
    return select(*d.wires([s.id, s.micros, s.spent_at])).where(known)


def _sum() -> Expression:
    return cast(func.coalesce(func.sum(s.micros), number(0)), BigInteger)


@statement
def _of_job(d: Dialect) -> Executable:
    return select(_sum()).where(s.job_id == d.id(param("job_id")))


@statement
def _of_owner(d: Dialect) -> Executable:
    since, until = (d.instant(param(name, BigInteger)) for name in ("since", "until"))
    mine = s.owner == param("owner")
    return select(_sum()).where(mine, s.spent_at >= since, s.spent_at < until)


@atomic
@knows_again
def record(
    d: Dialect, row: SpendRow, *, budget: Budget | None, again: bool = False
) -> Op[Recorded]:
    """Store what a request cost, once, and what has been spent by then.

    No claim has to be held: what a worker spends that has lost its job is spent all the same.
    """
    del again  # by its id a record that was sent before is known
    stored = yield _record(d, **asdict(row))
    if stored:
        [(now,)], earlier = stored, None
    else:
        known = yield _known(d, id=row.id, provider=row.provider, request_id=row.request_id)
        [(id, amount, now), *_] = known
        earlier = None if id == row.id else amount
    sums = yield from _sums(d, row.job_id, row.owner, now, budget)
    return Recorded(sums, earlier)


def _sums(d: Dialect, job_id: str, owner: str | None, now: int, budget: Budget | None) -> Op[Sums]:
    [(job,)] = yield _of_job(d, job_id=job_id)
    if owner is None or budget is None or budget.per_owner_day is None:
        return Sums(job=job)
    since, until = budget.day(now)
    [(today,)] = yield _of_owner(d, owner=owner, since=since, until=until)
    return Sums(job=job, owner_day=today, day_ends=until)


@reading
def spent(d: Dialect, *, job_id: str, owner: str | None, budget: Budget) -> Op[Sums]:
    """What a job has spent, and its owner today, as far as the budget is about that."""
    now = yield from clock(d)
    return (yield from _sums(d, job_id, owner, now, budget))


@frozen(kw_only=True)
class Which:
    """Which requests; `None` is all. Instants in microseconds, `until` is not among them."""

    since: int | None = None
    until: int | None = None
    owner: str | None = None
    type: str | None = None
    job_id: str | None = None


def _conditions(d: Dialect, names: tuple[str, ...]) -> list[Any]:
    conditions = {
        "since": lambda: s.spent_at >= d.instant(param("since", BigInteger)),
        "until": lambda: s.spent_at < d.instant(param("until", BigInteger)),
        "owner": lambda: s.owner == param("owner"),
        "type": lambda: s.type == param("type"),
        "job_id": lambda: s.job_id == d.id(param("job_id")),
    }
    return [conditions[name]() for name in names]


@replanned
def _totals(d: Dialect, by: str, names: tuple[str, ...]) -> Executable:
    retried = cast(func.sum(case((s.attempt > 1, s.micros), else_=number(0))), BigInteger)
    key: Expression
    if by == "day":
        key = d.wire(s.spent_at).op("/")(literal_column(str(QUARTER), BigInteger))
    else:
        key = d.wire(s["job_id" if by == "job" else by])
    found = select(key.label("key"), _sum().label("micros"), func.count(), retried)
    found = found.where(*_conditions(d, names)).group_by(key)
    order = key.desc() if by == "day" else _sum().desc()
    return found.order_by(order, key).limit(param("most", Integer))


@reading
def spend_totals(
    d: Dialect, by: str, which: Which, *, most: int
) -> Op[list[tuple[Any, int, int, int]]]:
    """(key, micros, requests, micros of later attempts) by group, the largest first.

    By `day` the keys are quarters of an hour since 1970, the latest first.
    """
    given = {name: value for name, value in asdict(which).items() if value is not None}
    return (yield _totals(d, by, tuple(given), **given, most=most))
