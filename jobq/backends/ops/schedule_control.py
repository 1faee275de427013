"""Look at schedules, pause and resume them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Executable, select, update

from jobq._cron import Schedule, ScheduleInfo
from jobq._model import instant
from jobq.backends import _tables as t
from jobq.backends._columns import Flag
from jobq.backends._dialect import Dialect, number, param
from jobq.backends._statement import Op, atomic, reading, statement
from jobq.backends.ops._moves import clock
from jobq.backends.ops.schedules import (
    ALIVE,
    SPEC,
    after,
    known_schedules,
    named,
    schedule_of,
)

s = t.schedule.c
j = t.job.c


@statement
def _all(d: Dialect) -> Executable:
    alive = d.truth(s.seen_at > d.later(d.now(), number(-ALIVE)))
    alive.type = Flag
    columns = (*SPEC, s.paused, s.next_tick, s.last_tick, s.last_job, s.seen_at)
    query = select(*d.wires(columns), d.wire(alive), j.status)
    found = t.schedule.outerjoin(t.job, j.id == s.last_job)
    return query.select_from(found).order_by(s.name)


@reading
def all_schedules(d: Dialect) -> Op[list[ScheduleInfo]]:
    """The schedules by name."""
    rows = yield _all(d)
    return [_info(schedule_of(row), row[len(SPEC) :]) for row in rows]


def _info(schedule: Schedule, row: Sequence[Any]) -> ScheduleInfo:
    return ScheduleInfo(
        name=schedule.name,
        type=schedule.type,
        expression=schedule.expression,
        tz=schedule.tz,
        catch_up=schedule.catch_up,
        overlap=schedule.overlap,
        paused=bool(row[0]),
        next_tick=instant(row[1]),
        last_tick=instant(row[2]),
        last_job_id=row[3],
        seen_at=instant(row[4]),  # type: ignore[arg-type]
        declared=bool(row[5]),
        last_status=row[6],
    )


@statement
def _pause(d: Dialect) -> Executable:
    paused = update(t.schedule).where(s.name == param("name"))
    return paused.values(paused=d.flag(number(1))).returning(s.name)


def pause_schedule(d: Dialect, *, name: str) -> Op[bool]:
    """Let a schedule tick no more; whether there is one."""
    rows = yield _pause(d, name=name)
    return bool(rows)


@statement
def _resume(d: Dialect) -> Executable:
    values = {
        "paused": d.flag(number(0)),
        "since": d.now(),
        "next_tick": d.instant(param("next_tick", BigInteger)),
    }
    was_paused = d.is_set(s.paused)
    return update(t.schedule).where(s.name == param("name"), was_paused).values(values)


@atomic
def resume_schedule(d: Dialect, *, name: str) -> Op[bool]:
    """Let a schedule tick again, from now on; whether there is one."""
    now = yield from clock(d)
    rows = yield known_schedules(d, rows=named([name]))
    for row in rows:
        yield _resume(d, name=name, next_tick=after(schedule_of(row), now))
    return bool(rows)
