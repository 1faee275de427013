"""What limited jobs wait for: which limit, until when, and how many are before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve
from sqlalchemy import BigInteger, Executable, Integer, SmallInteger, Text, func, or_, select

from jobq._clock import SECOND, to_datetime
from jobq._limits import Lane, RateLimit
from jobq._limits.admit import NEVER, State, options_of
from jobq._limits.lanes import Ref
from jobq._limits.report import describe
from jobq._model import Job, JobStatus, LimitInfo, WaitingFor
from jobq._payload import dumps, loads
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, param
from jobq.backends._statement import Op, Row, reading, replanned, statement
from jobq.backends.ops.admission import wanted_keys
from jobq.backends.ops.heads import known_lanes, stand
from jobq.backends.ops.limits import STATE
from jobq.backends.ops.workers import pools

j = t.job.c
CAP = 1000
"""How far back in its lane a job's position is counted."""
_WAITS = (JobStatus.PENDING, JobStatus.RATE_LIMITED)


@statement
def _before(d: Dialect) -> Executable:
    same = (j.queue == param("queue"), j.lane == param("lane"), d.is_set(j.ready))
    priority, run_at = param("priority", SmallInteger), d.instant(param("run_at", BigInteger))
    sooner = or_(
        j.priority > priority,
        (j.priority == priority) & (j.run_at < run_at),
        (j.priority == priority) & (j.run_at == run_at) & (j.id < d.id(param("id"))),
    )
    some = select(j.id).where(*same, sooner).limit(number(CAP)).subquery()
    return select(func.count()).select_from(some)


def annotate(d: Dialect, jobs: Sequence[tuple[Job, Row]]) -> Op[list[Job]]:
    """The jobs, with what those of them that have limits wait for.

    With one job, also its position in its lane and an estimate of when it starts.
    """
    waiting = [
        (job.queue, text) for job, row in jobs if job.status in _WAITS and (text := lane_of(row))
    ]
    if not waiting:
        return [job for job, _ in jobs]
    held = (yield from pools(d)) if any("@" in text for _, text in waiting) else {}
    now, rows = yield from stand(d, wanted_keys(waiting, held))
    if now is None:
        return [job for job, _ in jobs]
    states = {key: row.state for key, row in rows.items()}
    annotated = []
    for job, row in jobs:
        lane = Lane.parse(lane_of(row) or "")
        if lane is None or job.status not in _WAITS or job.run_at > to_datetime(now):
            annotated.append(job)
            continue
        costs = loads(costs_of(row) or "{}")
        job = evolve(job, waiting_for=_waits_for(lane, states, now, costs, held))  # noqa: PLW2901
        if len(jobs) == 1:
            position = yield from _position(d, job, lane_of(row) or "")
            eta = _eta(lane, states, now, costs, position)
            job = evolve(job, position=position + 1, eta=eta)  # noqa: PLW2901
        annotated.append(job)
    return annotated


def lane_of(row: Row) -> str | None:
    return row[-2]  # type: ignore[no-any-return]


def costs_of(row: Row) -> str | None:
    return row[-1]  # type: ignore[no-any-return]


def _position(d: Dialect, job: Job, lane: str) -> Op[int]:
    [(count,)] = yield _before(
        d,
        id=job.id,
        queue=job.queue,
        lane=lane,
        priority=job.priority,
        run_at=int(job.run_at.timestamp() * SECOND),
    )
    return int(count)


def _waits_for(
    lane: Lane, states: Mapping[str, State], now: int, costs: Mapping[str, int], held: Any
) -> WaitingFor | None:
    """The limit that opens last, if it is closed now."""
    openings = {ref: _opening(ref, states, now, costs.get(ref.key, 1), held) for ref in lane.refs}
    last = max(openings, key=lambda ref: openings[ref], default=None)
    if last is None or openings[last] <= now:
        return None
    until = None if openings[last] >= NEVER else to_datetime(openings[last])
    rows = {key for keys, _ in options_of(last, held) for key in keys}
    closed = any(states[key].is_closed(now) for key in rows if key in states)
    return WaitingFor(limit=last.key, until=until, closed=closed)


def _opening(ref: Ref, states: Mapping[str, State], now: int, cost: int, held: Any) -> int:
    best = NEVER
    for keys, _ in options_of(ref, held):
        best = min(best, max(states[k].opening(now, cost) if k in states else now for k in keys))
    return best


def _eta(
    lane: Lane, states: Mapping[str, State], now: int, costs: Mapping[str, int], before: int
) -> float | None:
    """Seconds until it starts, as far as its rate limits tell; `None` where they do not."""
    latest: int | None = None
    for ref in lane.refs:
        state = states.get(ref.key)
        if state is None or not isinstance(state.limit, RateLimit):
            continue
        cost = costs.get(ref.key, 1)
        opening = state.opening(now, cost)
        if opening >= NEVER:
            return None
        latest = max(latest or 0, opening + before * state.limit.bucket.increment(cost))
    return None if latest is None else max(0.0, (latest - now) / SECOND)


@replanned
def _counted(d: Dialect) -> Executable:
    lanes = d.rows("lanes", queue=Text, lane=Text)
    job = t.job.alias("counted")
    c = job.c
    some = select(c.id).where(c.queue == lanes.c.queue, c.lane == lanes.c.lane, d.is_set(c.ready))
    some = some.limit(param("cap", Integer)).correlate(lanes)
    count: Any = select(func.count()).select_from(
        some.lateral("some") if d.locks_rows else some.subquery("some")
    )
    if not d.locks_rows:  # SQLite cannot correlate a subquery of a FROM
        count = select(func.count()).where(
            c.queue == lanes.c.queue, c.lane == lanes.c.lane, d.is_set(c.ready)
        )
    return select(lanes.c.queue, lanes.c.lane, count.correlate(lanes).scalar_subquery())


@reading
def count_waiting(d: Dialect, lanes: Sequence[tuple[str, str]]) -> Op[dict[str, int]]:
    """How many due jobs wait, by limit key; at most `CAP` of each lane are counted."""
    rows = yield _counted(
        d, lanes=dumps([{"queue": queue, "lane": lane} for queue, lane in lanes]), cap=CAP
    )
    counts: dict[str, int] = {}
    for _, text, count in rows:
        lane = Lane.parse(text)
        for ref in lane.refs if lane is not None else ():
            counts[ref.key] = counts.get(ref.key, 0) + min(count, CAP)
    return counts


@statement
def _all(d: Dialect) -> Executable:
    return select(*d.wires(STATE)).order_by(t.limit.c.key).limit(param("most", Integer))


@reading
def all_limits(
    d: Dialect, waiting: Mapping[str, int], lanes: Sequence[str], *, most: int
) -> Op[list[LimitInfo]]:
    """All limits by key, as they stand; `waiting` counts those that wait, `lanes` are theirs."""
    keys = [row[0] for row in (yield _all(d, most=most))]
    served = yield from known_lanes(d)
    known = [Lane.parse(text) for text in (*served, *lanes)]
    templates = {ref.key: ref.template for lane in known if lane for ref in lane.refs}
    now, rows = yield from stand(d, {key: templates.get(key, key) for key in keys})
    return [
        describe(
            row.state,
            now or 0,
            reason=row.reason,
            overridden=row.overridden,
            waiting=waiting.get(key, 0),
            started=row.started,
            refused=row.refused,
        )
        for key, row in rows.items()
    ]
