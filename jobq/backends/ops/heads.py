"""The heads of lanes, who holds places, and how limits stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    Text,
    case,
    cast,
    func,
    null,
    select,
    true,
    union_all,
)

from jobq._clock import SECOND
from jobq._limits import Concurrency, Lane
from jobq._limits.admit import Head, State
from jobq._payload import loads
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, param, word
from jobq.backends._statement import Op, reading, replanned, statement
from jobq.backends.ops._moves import clock_value
from jobq.backends.ops.claim import is_paused
from jobq.backends.ops.limits import LimitRow, look

j = t.job.c
At = tuple[str, str]
"""A queue and a lane."""
RESCUED_SOON = SECOND
"""How soon to look again for a place whose holder is about to be rescued, in microseconds."""


def _lateral_heads(d: Dialect, lanes: Any) -> Any:
    in_range = (j.queue == lanes.c.queue, j.lane == lanes.c.lane, d.is_set(j.ready))
    return select(*_HEAD).where(*in_range).order_by(j.priority.desc(), j.run_at, j.id)


_HEAD = (j.id, j.priority, j.run_at, j.costs)


def _of_lanes(d: Dialect, taking: bool) -> Any:
    lanes = d.rows("lanes", queue=Text, lane=Text)
    served = t.lane.c
    of_lane = (served.queue == lanes.c.queue) & (served.lane == lanes.c.lane)
    if d.locks_rows:
        some = _lateral_heads(d, lanes).limit(param("each", Integer))
        # An app's open transaction may hold a job: neither it nor its limits must be waited for.
        heads = (d.skip_locked(some) if taking else some).lateral("heads")
        pairs = lanes.join(heads, true())
        columns = heads.c
    else:
        head, job = t.job.alias("head"), t.job.alias("candidate")
        c = head.c
        in_range = (c.queue == lanes.c.queue, c.lane == lanes.c.lane, d.is_set(c.ready))
        ids = select(c.id).where(*in_range).order_by(c.priority.desc(), c.run_at, c.id)
        pairs = lanes.join(job, job.c.id.in_(ids.limit(param("each", Integer))))
        columns = job.c
    pairs = pairs.outerjoin(t.lane, of_lane)
    return (
        select(
            word("head").label("what"),
            d.wire(columns.id).label("id"),
            lanes.c.queue.label("queue"),
            lanes.c.lane.label("lane"),
            cast(columns.priority, BigInteger).label("priority"),
            d.wire(columns.run_at).label("at"),
            d.wire(columns.costs).label("costs"),
            d.wire(served.served_at).label("served_at"),
        )
        .select_from(pairs)
        .where(~is_paused(d, lanes.c.queue))
    )


def _nothing(kind: Any) -> Any:
    return cast(null(), kind)


def _holders(d: Dialect) -> Any:
    """How many jobs hold places, by lane, and when the first of them may come free.

    A lease that has ended holds its place until the job is rescued: a renewal may come first.
    """
    soon = d.later(d.now(), number(RESCUED_SOON))
    ends = case((j.lease_until > d.now(), j.lease_until), (j.lease_until <= d.now(), soon))
    first: Any = func.min(ends)
    first.type = j.lease_until.type
    return (
        select(
            word("holders").label("what"),
            d.check(j.status).label("id"),
            _nothing(Text).label("queue"),
            j.lane,
            cast(func.count(), BigInteger).label("priority"),
            d.wire(first).label("at"),
            _nothing(Text).label("costs"),
            _nothing(BigInteger).label("served_at"),
        )
        .with_hint(t.job, *t.BY_HOLDING)
        .where(d.predicate(t.HOLDING))
        .group_by(j.lane, j.status)
    )


def _rival(d: Dialect) -> Any:
    """The most urgent job without limits."""
    queues, types = d.rows("queues", queue=Text), d.rows("types", type=Text)
    head = t.job.alias("rival")
    c = head.c
    best = select(c.priority).where(
        c.queue == queues.c.queue, c.type == types.c.type, d.is_set(c.ready), c.lane.is_(None)
    )
    best = best.order_by(c.priority.desc()).limit(number(1))
    first = best.correlate(queues, types).scalar_subquery()
    pairs = queues.join(types, true())
    most = select(func.max(first)).select_from(pairs).where(~is_paused(d, queues.c.queue))
    return select(
        word("rival"),
        _nothing(Text),
        _nothing(Text),
        _nothing(Text),
        cast(most.scalar_subquery(), BigInteger),
        _nothing(BigInteger),
        _nothing(Text),
        _nothing(BigInteger),
    )


@replanned
def heads_of(d: Dialect, counting: bool, taking: bool) -> Executable:
    """The next jobs of lanes, and what else a claim decides by; `taking` locks the jobs."""
    parts = [_of_lanes(d, taking), _rival(d)]
    if counting:
        parts.append(_holders(d))
    found = union_all(*parts).subquery("found")
    return select(clock_value(d), *found.c)


@replanned
def _holding(d: Dialect) -> Executable:
    found = _holders(d).subquery("found")
    return select(clock_value(d), *found.c)


def sort_out(
    found: Sequence[tuple[Any, ...]], states: Mapping[str, State]
) -> tuple[dict[At, list[Head]], int | None, dict[At, int]]:
    """The heads of lanes, the priority of the rival, and when lanes were last served."""
    heads: dict[At, list[Head]] = {}
    served: dict[At, int] = {}
    rival: int | None = None
    holders = []
    for _, what, id, queue, lane, priority, at, costs, served_at in found:
        if what == "head":
            head = Head(id, queue, lane, priority, at, _units(costs))
            heads.setdefault((queue, lane), []).append(head)
            served[queue, lane] = served_at or 0
        elif what == "rival":
            rival = priority
        else:
            holders.append((id, lane, priority, at))
    count_holders(holders, states)
    for some in heads.values():
        some.sort(key=lambda head: (-head.priority, head.run_at, head.id))
    return heads, rival, served


def _units(costs: str | None) -> dict[str, int]:
    """Stored costs; what somebody has written there by hand that is none counts as 1."""
    found = {} if costs is None else loads(costs)
    if not isinstance(found, dict):
        return {}
    return {key: n for key, n in found.items() if type(n) is int and n >= 0}


def count_holders(
    holders: Sequence[tuple[str, str, int, int | None]], states: Mapping[str, State]
) -> None:
    """Add up who holds places: (status, lane, how many, when the first may end)."""
    for status, text, count, ends in holders:
        lane = Lane.parse(text)
        for ref in (*lane.refs, *lane.kept) if lane is not None else ():
            state = states.get(ref.key)
            if state is None or not isinstance(state.limit, Concurrency):
                continue
            if status == "waiting" and not state.limit.while_waiting:
                continue
            state.running += count
            if ends is not None:
                state.frees_at = min(ends, state.frees_at or ends)


@reading
def stand(d: Dialect, keys: Mapping[str, str]) -> Op[tuple[int | None, dict[str, LimitRow]]]:
    """How limits stand, with the places that are taken, nothing locked."""
    now, rows = yield from look(d, keys)
    states = {key: row.state for key, row in rows.items()}
    if any(isinstance(state.limit, Concurrency) for state in states.values()):
        found = yield _holding(d)
        count_holders([(row[2], row[4], row[5], row[6]) for row in found], states)
    return now, rows


@statement
def _known_lanes(_: Dialect) -> Executable:
    return select(t.lane.c.lane).distinct().limit(number(10_000))


def known_lanes(d: Dialect) -> Op[list[str]]:
    """The lanes that were served lately."""
    return [row[0] for row in (yield _known_lanes(d))]
