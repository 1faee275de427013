"""Limits as rows: lock them, look at them, debit, close and settle them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen
from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    Text,
    case,
    func,
    literal_column,
    or_,
    select,
    update,
)

from jobq._limits import RateLimit
from jobq._limits.admit import State
from jobq._limits.declared import DailyQuota, from_spec
from jobq._payload import dumps, loads
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, word
from jobq.backends._statement import Op, Row, atomic, knows_again, reading, statement
from jobq.backends.ops._moves import clock_value

c = t.limit.c
STATE = (
    c.key,
    c.spec,
    c.overridden,
    c.tat,
    c.idle_at,
    c.day,
    c.used,
    c.paused,
    c.blocked_until,
    c.reason,
    c.started,
    c.refused,
    c.held_for,
    c.held_priority,
    c.held_until,
)
IDLE = 3_600_000_000
"""How long a limit has been full, in microseconds, before its row is dropped."""

SET_BACK = 10_000_000
"""How far behind a limit's last write the clock must be to have been set back, in microseconds."""


@frozen(kw_only=True)
class LimitRow:
    """A stored limit."""

    state: State
    template: str
    overridden: bool
    reason: str | None
    started: int
    refused: int
    spec: str | None


def to_row(
    row: Row, template: str, template_spec: str | None, declared: Mapping[str, str]
) -> LimitRow:
    """The limit of a row of the columns `STATE`, and of its template's numbers.

    Where those are missing or cannot be read, what this process has `declared` holds.
    """
    key, own, overridden = row[0], row[1], bool(row[2])
    spec = own if own is not None and (overridden or key == template) else template_spec or own
    limit = None if spec is None else from_spec(key, loads(spec))
    if limit is None and template in declared:
        spec = declared[template]
        limit = from_spec(key, loads(spec))
    state = State(
        key=key,
        limit=limit,
        tat=row[3] or 0,
        idle_at=row[4] or 0,
        day=row[5],
        used=row[6],
        paused=bool(row[7]),
        blocked_until=row[8],
        held_for=row[12],
        held_priority=row[13],
        held_until=row[14] or 0,
    )
    return LimitRow(
        state=state,
        template=template,
        overridden=overridden,
        reason=row[9],
        started=row[10],
        refused=row[11],
        spec=spec,
    )


def _selected(d: Dialect, *, locking: bool) -> Executable:
    wanted = d.rows("keys", key=Text, template=Text)
    pattern = t.limit.alias("pattern")
    found = wanted.join(t.limit, c.key == wanted.c.key)
    found = found.outerjoin(pattern, pattern.c.key == wanted.c.template)
    query = select(clock_value(d), wanted.c.template, d.wire(pattern.c.spec), *d.wires(STATE))
    query = query.add_columns(d.wire(c.updated_at))
    query = query.select_from(found).order_by(c.key)
    return d.lock(bounded(d, query), t.limit) if locking else query


def bounded(d: Dialect, query: Any) -> Any:
    """Let the transaction wait for a lock, or for a client that was stopped, 2 s at most."""
    if not d.locks_rows:
        return query
    bounds = [
        func.set_config(setting, word("2s"), literal_column("true")).label(setting)
        for setting in ("lock_timeout", "idle_in_transaction_session_timeout")
    ]
    # Materialized, and a part of the join: it is evaluated before the first row is locked.
    set_up = select(*bounds).cte("bounded").prefix_with("MATERIALIZED", dialect="postgresql")
    return query.add_columns(set_up.c.lock_timeout)


@statement
def _lock(d: Dialect) -> Executable:
    return _selected(d, locking=True)


@statement
def _look(d: Dialect) -> Executable:
    return _selected(d, locking=False)


def _keys(keys: Mapping[str, str]) -> str:
    return dumps([{"key": key, "template": keys[key]} for key in sorted(keys)])


def lock(
    d: Dialect, keys: Mapping[str, str], declared: Mapping[str, str] | None = None
) -> Op[tuple[int | None, dict[str, LimitRow]]]:
    """Lock limits, given as {key: template}, in the order of their keys; those that exist.

    The instant is that of the statement's beginning, before it waited for other holders.
    """
    rows = yield _lock(d, keys=_keys(keys))
    now, limits, moved = _read(rows, declared or {})
    if moved:  # from here on time counts for them again
        yield _debit(d, debits=debit_rows(moved, rows[0][0]))
    return now, limits


@reading
def look(d: Dialect, keys: Mapping[str, str]) -> Op[tuple[int | None, dict[str, LimitRow]]]:
    """The same without locking anything."""
    rows = yield _look(d, keys=_keys(keys))
    now, limits, moved = _read(rows, {})
    for state in moved:  # shown as open: a claim can write down that it was moved
        state.tat = state.held_until = 0
    return now, limits


def _read(
    rows: list[Row], declared: Mapping[str, str]
) -> tuple[int | None, dict[str, LimitRow], list[State]]:
    """The clock, the limits, and which of them were moved with a clock that was set back."""
    limits = {row[3]: to_row(row[3:], row[1], row[2], declared) for row in rows}
    moved = [
        state
        for row in rows
        if _follow_clock(state := limits[row[3]].state, set_back=row[3 + len(STATE)] - row[0])
    ]
    return (rows[0][0] if rows else None), limits, moved


def _follow_clock(state: State, *, set_back: int) -> bool:
    """Move a limit with a clock that was set back since its last debit: it would lock up."""
    if set_back <= SET_BACK:
        return False
    state.tat -= set_back
    state.idle_at -= set_back
    state.held_until -= set_back
    return True


@statement
def _ensure(d: Dialect) -> Executable:
    wanted = d.rows("keys", key=Text)
    values = select(wanted.c.key).where(number(1) == number(1)).order_by(wanted.c.key)
    insert = d.insert(t.limit).from_select(["key"], values)
    return insert.on_conflict_do_nothing().returning(c.key)  # type: ignore[no-any-return]


def ensure_limits(d: Dialect, keys: Iterable[str]) -> Op[None]:
    """Add the rows of limits that are used for the first time: full buckets."""
    yield _ensure(d, keys=dumps([{"key": key} for key in sorted(keys)]))


@statement
def _debit(d: Dialect) -> Executable:
    new = debits(d)
    return _debiting(d, new).returning(c.key)  # type: ignore[no-any-return]


def debits(d: Dialect) -> Any:
    """The parameter `debits` as a table."""
    return d.rows(
        "debits",
        key=Text,
        tat=BigInteger,
        idle_at=BigInteger,
        day=Text,
        used=BigInteger,
        started=BigInteger,
        held_for=Text,
        held_priority=Integer,
        held_until=BigInteger,
        at=BigInteger,
    )


def _debiting(d: Dialect, new: Any) -> Any:
    values = {
        "tat": d.instant(new.c.tat),
        "idle_at": d.instant(new.c.idle_at),
        "day": new.c.day,
        "used": new.c.used,
        "started": c.started + new.c.started,
        "held_for": new.c.held_for,
        "held_priority": new.c.held_priority,
        "held_until": d.instant(new.c.held_until),
        # Not the time of this statement: the clock may have been set back since the row was read.
        "updated_at": d.instant(new.c.at),
    }
    return update(t.limit).where(c.key == new.c.key).values(values)


def debiting(d: Dialect) -> Any:
    """An UPDATE that stores what `debit_rows` gives as the parameter `debits`."""
    return _debiting(d, debits(d))


def debit_rows(states: Iterable[State], now: int, started: Mapping[str, int] | None = None) -> str:
    """The parameter `debits`, as decided `now`; `started` counts the starts of each key."""
    counted = started or {}
    rows = [
        {
            "key": state.key,
            "tat": state.tat,
            "idle_at": state.idle_at,
            "day": state.day,
            "used": state.used,
            "started": counted.get(state.key, 0),
            "held_for": state.held_for,
            "held_priority": state.held_priority,
            "held_until": state.held_until,
            "at": now,
        }
        for state in states
    ]
    return dumps(rows)


# --- from a worker ------------------------------------------------------------------------------


@statement
def _block(d: Dialect) -> Executable:
    kinds = {"until": BigInteger, "delay": BigInteger, "reason": Text, "refused": Integer}
    new = d.rows("rows", key=Text, **kinds)
    until = func.coalesce(d.instant(new.c.until), d.later(d.now(), new.c.delay))
    values = select(new.c.key, until, new.c.reason, new.c.refused).where(number(1) == number(1))
    insert: Any = d.insert(t.limit).from_select(
        ["key", "blocked_until", "reason", "refused"], values.order_by(new.c.key)
    )
    longer = or_(c.blocked_until.is_(None), c.blocked_until < insert.excluded.blocked_until)
    return insert.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=["key"],
        set_={
            "blocked_until": case((longer, insert.excluded.blocked_until), else_=c.blocked_until),
            "reason": case((longer, insert.excluded.reason), else_=c.reason),
            "refused": c.refused + insert.excluded.refused,
        },
    ).returning(c.key)


def block(d: Dialect, rows: Sequence[Mapping[str, Any]]) -> Op[None]:
    """Close limits: rows of key, until (an instant) or delay (microseconds), and reason.

    A pause is never shortened: the later of two ends holds.
    """
    longest: dict[str, Mapping[str, Any]] = {}
    for row in sorted(rows, key=_end):
        longest[row["key"]] = row
    refused = Counter(row["key"] for row in rows)
    yield _block(d, rows=dumps([{**row, "refused": refused[key]} for key, row in longest.items()]))


def _end(row: Mapping[str, Any]) -> int:
    return row["delay"]  # type: ignore[no-any-return]


@knows_again
@atomic
def settle(
    d: Dialect, *, key: str, template: str, units: int, start: int, again: bool = False
) -> Op[bool]:
    """Correct what a job was debited at `start` by some units, more or fewer.

    Units are given back only as far as the bucket has not been full since: then they are, already.
    Sent `again`, units are not given back: they may have been, and twice is more than the limit.
    """
    if again and units < 0:
        return False
    now, rows = yield from lock(d, {key: template})
    if now is None:
        return False
    state = rows[key].state
    match state.limit:
        case RateLimit() as limit if units > 0:
            state.tat = max(state.tat, now) + limit.bucket.increment(units)
        case RateLimit() as limit if state.idle_at <= start:
            state.tat -= -units * limit.bucket.period // limit.bucket.units
        case DailyQuota() as limit if state.day == limit.day(start):
            state.used = max(0, state.used + units)
        case _:
            return False
    yield _debit(d, debits=debit_rows([state], now))
    return True
