"""What may be claimed, by queue and lane, without reading the jobs themselves."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from sqlalchemy import Executable, Text, literal_column, null, select, union_all

from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, param
from jobq.backends._statement import Op, reading, statement
from jobq.backends.ops.claim import is_paused

j = t.job.c
MOST = 1000
"""How many lanes one look brings; the next look goes on from there."""


@frozen
class Ready:
    """The queues with unlimited jobs, and the (queue, lane) pairs with limited ones."""

    queues: tuple[str, ...]
    lanes: tuple[tuple[str, str], ...]

    @property
    def after(self) -> str:
        """Where the next look at the lanes begins: anew, unless there were too many for one."""
        return self.lanes[-1][1] if len(self.lanes) >= MOST else ""


def _queues(d: Dialect, name: str, *where: Any) -> Any:
    """A loose index scan: one probe for each queue, however many jobs they hold."""

    def next_after(previous: Any) -> Any:
        ready = select(j.queue).where(d.is_set(j.ready), *where)
        if previous is not None:
            ready = ready.where(j.queue > previous)
        return ready.order_by(j.queue).limit(number(1)).scalar_subquery()

    seen = select(next_after(None).label("queue")).cte(name, recursive=True)
    step = select(next_after(seen.c.queue)).where(seen.c.queue.is_not(None))
    return seen.union_all(step)


@statement
def _ready(d: Dialect) -> Executable:
    unlimited = _queues(d, "unlimited", j.lane.is_(None))
    limited = _queues(d, "limited", j.lane.is_not(None))

    def next_lane(queue: Any, previous: Any) -> Any:
        ready = select(j.lane).where(d.is_set(j.ready), j.lane.is_not(None), j.queue == queue)
        ready = ready.where(j.lane > previous).order_by(j.lane).limit(number(1))
        return ready.scalar_subquery()

    first = next_lane(limited.c.queue, param("after")).label("lane")
    begun = select(limited.c.queue, first).where(limited.c.queue.is_not(None))
    lanes = begun.cte("lanes", recursive=True)
    following = next_lane(lanes.c.queue, lanes.c.lane)
    found: Any = lanes.union_all(select(lanes.c.queue, following).where(lanes.c.lane.is_not(None)))
    # Those of a paused queue would be asked for in vain, again and again.
    wanted = (found.c.lane.is_not(None), ~is_paused(d, found.c.queue))
    some: Any = select(found.c.queue, found.c.lane).where(*wanted)
    some = some.order_by(found.c.lane).limit(number(MOST)).subquery("some")
    queues = select(unlimited.c.queue, null().label("lane")).where(unlimited.c.queue.is_not(None))
    return union_all(queues, select(some.c.queue, some.c.lane))


@reading
def ready(d: Dialect, *, after: str = "") -> Op[Ready]:
    """The queues and lanes that have jobs to claim; the lanes from `after` on."""
    rows = yield _ready(d, after=after)
    queues = tuple(queue for queue, lane in rows if lane is None)
    lanes = sorted((lane, queue) for queue, lane in rows if lane is not None)
    return Ready(queues, tuple((queue, lane) for lane, queue in lanes))


@statement
def _ready_types(d: Dialect) -> Executable:
    queues = _queues(d, "unlimited", j.lane.is_(None))

    def next_type(queue: Any, previous: Any) -> Any:
        ready = select(j.type).where(d.is_set(j.ready), j.lane.is_(None), j.queue == queue)
        ready = ready.where(j.type > previous).order_by(j.type).limit(number(1))
        return ready.scalar_subquery()

    first = next_type(queues.c.queue, literal_column("''", Text)).label("type")
    begun = select(queues.c.queue, first).where(queues.c.queue.is_not(None))
    types = begun.cte("types", recursive=True)
    following = next_type(types.c.queue, types.c.type)
    found: Any = types.union_all(select(types.c.queue, following).where(types.c.type.is_not(None)))
    return select(found.c.type).where(found.c.type.is_not(None)).distinct()


@reading
def ready_types(d: Dialect) -> Op[list[str]]:
    """The types of jobs without limits that may be claimed: one probe for each (queue, type)."""
    rows = yield _ready_types(d)
    return [type for (type,) in rows]
