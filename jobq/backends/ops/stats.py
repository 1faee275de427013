"""What became of attempts, minute by minute: counted by workers, so that no chart scans jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Executable, Integer, Text, cast, delete, func, null, select

from jobq._model import Stat, instant
from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, number, param
from jobq.backends._statement import Op, reading, statement
from jobq.backends.ops._moves import clock, clock_value

s = t.stat.c
MINUTE = 60_000_000
KEPT = 7 * 24 * 60 * MINUTE
"""How long a minute's counts are kept, in microseconds."""
_SHARE = 60 * MINUTE
"""How much of what is too old is deleted at a time."""
SUMS = (s.completed, s.failed, s.retried, s.duration_ms)


def _beginning(moment: Expression, step: Expression) -> Expression:
    """When the minute, or the several, began that a moment lies in; both in microseconds."""
    return moment - moment % step


@statement
def _add(d: Dialect) -> Executable:
    rows = d.rows(
        "rows",
        queue=Text,
        type=Text,
        completed=Integer,
        failed=Integer,
        retried=Integer,
        duration_ms=BigInteger,
    )
    minute = d.instant(_beginning(clock_value(d), number(MINUTE)))
    source = select(minute, cast(param("worker"), Text), *rows.c)
    # SQLite takes an ON after a SELECT that has no WHERE for a join's.
    source = source.where(number(1) == number(1))
    columns = ["minute", "worker", *(column.name for column in rows.c)]
    insert: Any = d.insert(t.stat).from_select(columns, source)
    return insert.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=["minute", "worker", "queue", "type"],
        set_={one.name: one + insert.excluded[one.name] for one in SUMS},
    )


def add_stats(d: Dialect, worker: str, rows: Sequence[dict[str, Any]]) -> Op[None]:
    """Add counts to those of this minute, for each queue and type of a worker's attempts."""
    ordered = sorted(rows, key=lambda row: (row["queue"], row["type"]))  # against deadlocks
    yield _add(d, worker=worker, rows=dumps(ordered))


@statement
def _sums(d: Dialect, by: str | None, *filters: str) -> Executable:
    beginning = _beginning(d.wire(s.minute), param("step", BigInteger)).label("beginning")
    name = null() if by is None else s[by]
    sums = (cast(func.sum(column), BigInteger) for column in SUMS)
    some = [s[column] == param(column) for column in filters]
    since = s.minute >= d.instant(param("since", BigInteger))
    keys = (beginning,) if by is None else (beginning, name)
    return select(beginning, name, *sums).where(since, *some).group_by(*keys)


@reading
def stats(
    d: Dialect, *, points: int, step: int, by: str | None = None, **equal: str | None
) -> Op[list[Stat]]:
    """`points` sums of `step` microseconds each, up to now; the same for each value of `by`."""
    now = yield from clock(d)
    last = now - now % step
    beginnings = range(last - (points - 1) * step, last + 1, step)
    named = {name: value for name, value in equal.items() if value is not None}
    rows = yield _sums(d, by, *named, since=beginnings[0], step=step, **named)
    found = {(row[0], row[1]): row[2:] for row in rows}
    names = [None] if by is None else sorted({row[1] for row in rows})
    return [
        _stat(beginning, name, found.get((beginning, name), (0, 0, 0, 0)))
        for name in names
        for beginning in beginnings
    ]


def _stat(beginning: int, name: str | None, sums: Sequence[int]) -> Stat:
    completed, failed, retried, duration_ms = sums
    return Stat(
        minute=instant(beginning),  # type: ignore[arg-type]
        name=name,
        completed=completed,
        failed=failed,
        retried=retried,
        seconds=duration_ms / 1000,
    )


def old(d: Dialect) -> Any:
    """Minutes that are past their retention."""
    return select(s.minute).where(s.minute < d.later(d.now(), number(-KEPT)))


@statement
def _prune(d: Dialect) -> Executable:
    first = select(func.min(s.minute)).scalar_subquery()
    kept = d.later(d.now(), number(-KEPT))
    return delete(t.stat).where(s.minute < kept, s.minute < d.later(first, number(_SHARE)))


def prune_stats(d: Dialect) -> Op[None]:
    """Delete the oldest hour of those past their retention."""
    yield _prune(d)
