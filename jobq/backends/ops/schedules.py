"""Schedules: what code declares, the ticks that become jobs, and pauses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import Factory, define, field, frozen
from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    SmallInteger,
    Text,
    and_,
    delete,
    func,
    or_,
    select,
    update,
)

from jobq._clock import SECOND
from jobq._cron import Due, Schedule
from jobq._errors import ConfigurationError
from jobq._model import LIVE, Job
from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, is_one_of, number
from jobq.backends._statement import Op, Row, atomic, statement
from jobq.backends.ops._moves import clock, clock_value
from jobq.backends.ops.insert import NewRow, insert_many
from jobq.backends.ops.limits import bounded

s = t.schedule.c
j = t.job.c
ALIVE = 600 * SECOND
"""How long a schedule counts as declared after a worker has said so last."""
_DAY = 24 * 3600 * 1_000_000
_KEPT = 30 * _DAY
"""How long a schedule that no code has any more is remembered."""
_TICKS_KEPT = 7 * _DAY

SPEC = (
    s.name,
    s.type,
    s.expression,
    s.tz,
    s.catch_up,
    s.overlap,
    s.payload,
    s.queue,
    s.priority,
    s.owner,
)
NAMES = tuple(column.name for column in SPEC)
_KINDS = {
    "overlap": Integer,
    "priority": SmallInteger,
    "since": BigInteger,
    "tick": BigInteger,
    "next_tick": BigInteger,
    "last_tick": BigInteger,
}


def schedule_of(row: Sequence[Any]) -> Schedule:
    values = dict(zip(NAMES, row, strict=False))
    return Schedule(**{**values, "overlap": bool(values["overlap"])})


def _spec(schedule: Schedule) -> dict[str, Any]:
    values = {name: getattr(schedule, name) for name in NAMES}
    return {**values, "overlap": int(schedule.overlap)}


def _rows(d: Dialect, *names: str) -> Any:
    return d.rows("rows", **{name: _KINDS.get(name, Text) for name in names})


def named(names: Sequence[str]) -> str:
    return dumps([{"name": name} for name in names])


def after(schedule: Schedule, moment: int) -> int | None:
    """Its next tick; `None` where its row holds what cannot be understood here."""
    try:
        return schedule.next_tick(moment)
    except ConfigurationError:
        return None


# --- declare ------------------------------------------------------------------------------------


@statement
def known_schedules(d: Dialect) -> Executable:
    wanted = _rows(d, "name")
    query = select(*d.wires((*SPEC, s.since, s.next_tick)))
    query = query.select_from(wanted.join(t.schedule, s.name == wanted.c.name)).order_by(s.name)
    return d.lock(bounded(d, query), t.schedule)


@statement
def _store(d: Dialect) -> Executable:
    new = _rows(d, *NAMES, "since", "next_tick")
    values: dict[str, Any] = {name: new.c[name] for name in NAMES}
    values["overlap"] = d.flag(new.c.overlap)
    values["payload"] = d.json(new.c.payload)
    values["since"] = d.instant(new.c.since)
    values["next_tick"] = d.instant(new.c.next_tick)
    values["seen_at"] = d.now()
    source = select(*values.values()).where(number(1) == number(1)).order_by(new.c.name)
    insert: Any = d.insert(t.schedule).from_select(list(values), source)
    changed = {name: insert.excluded[name] for name in values if name != "name"}
    return insert.on_conflict_do_update(index_elements=["name"], set_=changed)  # type: ignore[no-any-return]


@statement
def _unseen(d: Dialect) -> Executable:
    long_ago = d.later(d.now(), number(-_KEPT))
    return delete(t.schedule).where(s.seen_at < long_ago).returning(s.name)


@statement
def _forget_ticks(d: Dialect, only_old: bool) -> Executable:
    gone = _rows(d, "name")
    ticks = delete(t.tick).where(t.tick.c.schedule.in_(select(gone.c.name)))
    if only_old:
        ticks = ticks.where(t.tick.c.tick < d.later(d.now(), number(-_TICKS_KEPT)))
    return ticks


@atomic
def declare_schedules(
    d: Dialect, schedules: Sequence[Schedule], *, change: bool
) -> Op[list[Schedule]]:
    """Store schedules that are new, and with `change` those that are different.

    What holds now for each. A new or different expression ticks from now on: its earlier ticks
    were not missed. Schedules that no code has had for 30 days are dropped.
    """
    now = yield from clock(d)
    names = sorted(schedule.name for schedule in schedules)
    known = {row[0]: row for row in (yield known_schedules(d, rows=named(names)))}
    stored: list[dict[str, Any]] = []
    holds: list[Schedule] = []
    for schedule in sorted(schedules, key=lambda one: one.name):
        row = known.get(schedule.name)
        holder = None if row is None else schedule_of(row)
        if holder is not None and (holder == schedule or not change):
            holds.append(holder)
            continue
        holds.append(schedule)
        stored.append(_spec(schedule) | _times(schedule, holder, row, now))
    if stored:
        yield _store(d, rows=dumps(stored))
    gone = yield _unseen(d)
    if gone:
        yield _forget_ticks(d, False, rows=named([row[0] for row in gone]))
    return holds


def _times(
    schedule: Schedule, holder: Schedule | None, row: Row | None, now: int
) -> dict[str, Any]:
    """From when on a schedule ticks, if need be in the place of another version of it."""
    if holder is not None and row is not None:
        since, next_tick = row[len(SPEC)], row[len(SPEC) + 1]
        alike = (holder.expression, holder.tz) == (schedule.expression, schedule.tz)
        if alike and next_tick is not None:
            return {"since": since, "next_tick": next_tick}
    return {"since": now, "next_tick": schedule.next_tick(now)}


@statement
def _see(d: Dialect) -> Executable:
    mine = _rows(d, "name")
    some = select(s.name).join(mine, s.name == mine.c.name).order_by(s.name)
    free = d.skip_locked(some, t.schedule)
    return update(t.schedule).where(s.name.in_(free)).values(seen_at=d.now())


def see_schedules(d: Dialect, names: Sequence[str]) -> Op[None]:
    """Say that there is a worker whose code has these schedules."""
    yield _see(d, rows=named(sorted(names)))


# --- tick ---------------------------------------------------------------------------------------


@frozen
class Tick:
    """An instant at which a schedule was due, and the job that it became."""

    schedule: Schedule
    tick: int
    job: Job | None
    """`None` where the job of an earlier tick was unfinished."""


@define
class Round:
    """What came of one look at the schedules."""

    now: int
    next_tick: int | None = None
    """When the next of them is due; not after `now` where another worker is at it."""
    ticks: list[Tick] = Factory(list)
    left_out: list[tuple[Schedule, int]] = Factory(list)
    """Schedules with ticks that are not made up for, and how many."""
    unknown: list[tuple[str, str]] = Factory(list)
    """Schedules that cannot be understood here, and why."""


@statement
def _due(d: Dialect) -> Executable:
    mine = _rows(d, "name")
    # A little ahead of us is who has only just been at it; far ahead, the clock went back.
    due = or_(s.next_tick <= d.now(), s.since > d.later(d.now(), number(SECOND)))
    query = select(clock_value(d), *d.wires((*SPEC, s.since)))
    query = query.select_from(mine.join(t.schedule, s.name == mine.c.name))
    query = query.where(d.is_unset(s.paused), due).order_by(s.name)
    return d.skip_locked(bounded(d, query), t.schedule)


@statement
def _next(d: Dialect) -> Executable:
    mine = _rows(d, "name")
    found = mine.join(t.schedule, and_(s.name == mine.c.name, d.is_unset(s.paused)))
    soonest = func.min(s.next_tick)
    soonest.type = s.next_tick.type
    return select(clock_value(d), d.wire(soonest)).select_from(found)


@statement
def _busy(d: Dialect) -> Executable:
    keys = _rows(d, "type", "unique_key")
    same = and_(j.type == keys.c.type, j.unique_key == keys.c.unique_key)
    live = (j.unique_key.is_not(None), is_one_of(j.status, sorted(LIVE)))
    return select(j.unique_key).select_from(keys.join(t.job, same)).where(*live)


@statement
def _record(d: Dialect) -> Executable:
    new = _rows(d, "schedule", "tick", "job_id")
    values = (new.c.schedule, d.instant(new.c.tick), d.id(new.c.job_id))
    source = select(*values).where(number(1) == number(1))
    insert: Any = d.insert(t.tick).from_select(["schedule", "tick", "job_id"], source)
    kept = insert.on_conflict_do_nothing(index_elements=["schedule", "tick"])
    return kept.returning(t.tick.c.schedule, d.wire(t.tick.c.tick).label("tick"))  # type: ignore[no-any-return]


@statement
def _move_on(d: Dialect) -> Executable:
    moved = _rows(d, "name", "since", "next_tick", "last_tick", "last_job")
    last_tick, last_job = d.instant(moved.c.last_tick), d.id(moved.c.last_job)
    values = {
        "since": d.instant(moved.c.since),
        "next_tick": d.instant(moved.c.next_tick),
        "last_tick": func.coalesce(last_tick, s.last_tick),
        "last_job": func.coalesce(last_job, s.last_job),
    }
    return update(t.schedule).where(s.name == moved.c.name).values(values)


@define
class _Plan:
    """A schedule that is due, on its way through `tick`."""

    schedule: Schedule
    due: Due
    new: dict[int, NewRow | None] = field(factory=dict)
    """The jobs of its ticks."""


def _plans(rows: Sequence[Row], now: int, done: Round) -> list[_Plan]:
    plans = []
    for row in rows:
        schedule = schedule_of(row[1:])
        try:
            due = schedule.due(row[11], now)
        except ConfigurationError as error:
            done.unknown.append((schedule.name, str(error)))
            due = Due(ticks=[], left_out=0, next_tick=None)
        if due.left_out:
            done.left_out.append((schedule, due.left_out))
        plans.append(_Plan(schedule, due))
    return plans


@atomic
def tick(d: Dialect, names: Sequence[str], make: Callable[[Schedule, int], NewRow]) -> Op[Round]:
    """Enqueue the jobs of these schedules that are due, unless another worker is about to.

    Each tick is recorded in the transaction that stores its job, and only once: so there is one
    job for it, whoever else believes it is his turn.
    """
    mine = named(sorted(names))
    done = Round(now=0)
    rows = yield _due(d, rows=mine)
    if rows:
        plans = _plans(rows, rows[0][0], done)
        yield from _enqueue(d, plans, make, done)
        yield _move_on(d, rows=dumps([_moved(plan, rows[0][0]) for plan in plans]))
        yield _forget_ticks(d, True, rows=named([plan.schedule.name for plan in plans]))
    [(done.now, done.next_tick)] = yield _next(d, rows=mine)
    return done


def _enqueue(
    d: Dialect, plans: Sequence[_Plan], make: Callable[[Schedule, int], NewRow], done: Round
) -> Op[None]:
    keyed = [plan.schedule for plan in plans if plan.schedule.unique_key and plan.due.ticks]
    keys = [{"type": one.type, "unique_key": one.unique_key} for one in keyed]
    busy = {row[0] for row in (yield _busy(d, rows=dumps(keys)))} if keys else set()
    for plan in plans:
        is_busy = plan.schedule.unique_key in busy
        for moment in plan.due.ticks:
            plan.new[moment] = None if is_busy else make(plan.schedule, moment)
    wanted = [
        {"schedule": plan.schedule.name, "tick": moment, "job_id": row and row.id}
        for plan in plans
        for moment, row in plan.new.items()
    ]
    recorded = set(map(tuple, (yield _record(d, rows=dumps(wanted))))) if wanted else set()
    for plan in plans:
        name = plan.schedule.name
        plan.new = {at: row for at, row in plan.new.items() if (name, at) in recorded}
    new = [row for plan in plans for row in plan.new.values() if row is not None]
    jobs = {}
    if new:
        stored = yield from insert_many(d, new, notify=True)
        jobs = {row.id: job for row, job in zip(new, stored, strict=True)}
    for plan in plans:
        for moment, row in plan.new.items():
            done.ticks.append(Tick(plan.schedule, moment, None if row is None else jobs[row.id]))


def _moved(plan: _Plan, now: int) -> dict[str, Any]:
    last = max((at for at, row in plan.new.items() if row is not None), default=None)
    row = None if last is None else plan.new[last]
    return {
        "name": plan.schedule.name,
        "since": now,
        "next_tick": plan.due.next_tick,
        "last_tick": last,
        "last_job": None if row is None else row.id,
    }
