"""Claim jobs that have limits: lock what they need, look at the heads of lanes, decide, write."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    Text,
    cast,
    func,
    literal_column,
    null,
    select,
    true,
    union_all,
    update,
)

from jobq._limits import Admission, Head, Lane, Permit, State, admit
from jobq._limits.admit import lane_opening, options_of
from jobq._limits.declared import Concurrency
from jobq._payload import dumps, loads
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, param, word
from jobq.backends._statement import Call, Op, atomic, reading, replanned, statement
from jobq.backends.ops.claim import CLAIMED, Claimed, claiming, declare_refused, is_paused
from jobq.backends.ops.limits import LimitRow, debit_rows, debiting, lock, look

j = t.job.c
At = tuple[str, str]
"""A queue and a lane."""
FEW = 32
"""With more lanes than that, a claim first looks which are foremost."""
Pools = Mapping[str, Sequence[tuple[str, str]]]


@frozen(kw_only=True)
class Request:
    """What a worker asks for. Spans in microseconds."""

    lanes: Sequence[At]
    slots: int
    ahead: int
    """How many of them may start within `look_ahead` from now."""
    look_ahead: int
    worker: str
    lease: int
    margin: int
    keep: int | None
    pools: Pools
    rivals: tuple[Sequence[str], Sequence[str]]
    """The queues and types of unlimited jobs, which go first where they are more urgent."""


@define
class Grant:
    """What a worker got."""

    now: int = 0
    """The database's clock when it was decided."""
    asked_at: float = 0.0
    """This process's monotonic clock just before that."""
    jobs: list[tuple[Claimed, Permit]] = field(factory=list)
    openings: dict[At, int] = field(factory=dict)
    """When lanes that are closed open, as far as it is known."""
    costs: dict[At, Mapping[str, int]] = field(factory=dict)
    """What the heads of lanes cost."""
    empty: list[At] = field(factory=list)
    """Lanes without a job that is due."""
    missing: list[str] = field(factory=list)
    """Limits that have no row yet: add them, and ask again."""
    refused: list[str] = field(factory=list)
    outranked: bool = False
    """Whether more urgent jobs without limits are to go first."""


def wanted_keys(lanes: Sequence[At], pools: Pools) -> dict[str, str]:
    """The limit rows behind some lanes, as {key: template}."""
    keys: dict[str, str] = {}
    for _, text in lanes:
        lane = Lane.parse(text)
        for ref in lane.refs if lane is not None else ():
            if ref.pool is not None:
                keys[ref.key] = ref.key  # what all claims of the pool's lanes wait for
            for needed, name in options_of(ref, pools):
                keys |= {key: ref.template if name is None else key for key in needed}
    return keys


def _lateral_heads(d: Dialect, lanes: Any) -> Any:
    in_range = (j.queue == lanes.c.queue, j.lane == lanes.c.lane, d.is_set(j.ready))
    return select(*_HEAD).where(*in_range).order_by(j.priority.desc(), j.run_at, j.id)


_HEAD = (j.id, j.priority, j.run_at, j.costs)


def _heads_of_lanes(d: Dialect) -> Any:
    lanes = d.rows("lanes", queue=Text, lane=Text)
    served = t.lane.c
    of_lane = (served.queue == lanes.c.queue) & (served.lane == lanes.c.lane)
    if d.locks_rows:
        heads = _lateral_heads(d, lanes).limit(param("each", Integer)).lateral("heads")
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
    """How many jobs hold places, by lane, and when the first of their leases ends."""
    holding = d.predicate(t.HOLDING)
    valid = (j.lease_until > d.now()) | (j.status == word("waiting"))
    first: Any = func.min(j.lease_until)
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
        .where(holding, valid)
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
def _heads(d: Dialect, counting: bool) -> Executable:
    parts = [_heads_of_lanes(d), _rival(d)]
    if counting:
        parts.append(_holders(d))
    found = union_all(*parts).subquery("found")
    now = d.now()
    now.type = j.run_at.type
    return select(d.wire(now), *found.c)


@replanned
def _holding(d: Dialect) -> Executable:
    found = _holders(d).subquery("found")
    now = d.now()
    now.type = j.run_at.type
    return select(d.wire(now), *found.c)


def _picked(d: Dialect) -> Any:
    picks = d.rows("picks", id=Text)
    still = (d.is_set(j.ready), j.lane.is_not(None))
    return update(t.job).where(j.id == d.id(picks.c.id), *still).values(claiming(d))


def _serving(d: Dialect) -> Any:
    new = d.rows("served", queue=Text, lane=Text, at=BigInteger)
    values = select(new.c.queue, new.c.lane, d.instant(new.c.at)).where(number(1) == number(1))
    insert: Any = d.insert(t.lane).from_select(
        ["queue", "lane", "served_at"], values.order_by(new.c.queue, new.c.lane)
    )
    return insert.on_conflict_do_update(
        index_elements=["queue", "lane"], set_={"served_at": insert.excluded.served_at}
    ).returning(literal_column("1"))


@replanned
def _take(d: Dialect) -> Executable:
    """Claims, debits and turns in one statement."""
    taken = _picked(d).returning(*CLAIMED).cte("taken")
    debited, served = debiting(d).cte("debited"), _serving(d).cte("noted")
    columns = [taken.c[column.name] for column in CLAIMED]
    return select(*d.wires(columns)).add_cte(debited, served)


@statement
def _take_jobs(d: Dialect) -> Executable:
    return _picked(d).returning(*d.wires(CLAIMED))  # type: ignore[no-any-return]


@statement
def _debit(d: Dialect) -> Executable:
    return debiting(d)  # type: ignore[no-any-return]


@statement
def _serve(d: Dialect) -> Executable:
    return _serving(d)  # type: ignore[no-any-return]


_BOUNDED = (
    "SELECT set_config('lock_timeout', '2s', true), "
    "set_config('idle_in_transaction_session_timeout', '2s', true)"
)


@atomic
def claim_limited(d: Dialect, request: Request) -> Op[Grant]:
    """Claim jobs of lanes as far as their limits allow, and debit those."""
    if d.locks_rows:
        yield Call(_BOUNDED, {})
    asked = request.lanes
    if len(asked) > max(FEW, 4 * request.slots):
        asked = yield from _foremost(d, request, max(FEW, 4 * request.slots))
    keys = wanted_keys(asked, request.pools)
    began, rows = yield from lock(d, keys)
    grant = Grant(now=began or 0, missing=[key for key in keys if key not in rows])
    if grant.missing:
        return grant
    states = {key: row.state for key, row in rows.items()}
    open_lanes = [at for at in asked if _may_open(at, states, grant, request)]
    if not open_lanes:
        return grant
    counting = any(isinstance(state.limit, Concurrency) for state in states.values())
    each = max(1, min(request.slots, 4 * request.slots // len(open_lanes)))
    grant.asked_at = time.monotonic()
    found = yield _heads(d, counting, **_at(open_lanes, request), each=each)
    heads, rival, served = _sort_out(found, states)
    grant.now = found[0][0]
    grant.costs = {at: some[0].costs for at, some in heads.items() if some[0].costs}
    grant.empty = [at for at in open_lanes if at not in heads]
    if rival is not None:
        below = [at for at, some in heads.items() if some[0].priority < rival]
        grant.outranked = bool(below)
        heads = {at: some for at, some in heads.items() if at not in below}
    admission = admit(
        states,
        heads,
        slots=request.slots,
        now=grant.now,
        ahead=request.ahead,
        look_ahead=request.look_ahead,
        pools=request.pools,
        served=served,
    )
    grant.openings |= admission.openings
    yield from _write(d, request, admission, states, grant)
    return grant


def _at(lanes: Sequence[At], request: Request) -> dict[str, str]:
    """Parameters of `_heads`."""
    return {
        "lanes": dumps([{"queue": queue, "lane": lane} for queue, lane in lanes]),
        "queues": dumps([{"queue": queue} for queue in request.rivals[0]]),
        "types": dumps([{"type": type} for type in request.rivals[1]]),
    }


def _foremost(d: Dialect, request: Request, most: int) -> Op[list[At]]:
    """The lanes that are to be served first, so that a claim need not lock the limits of all."""
    found = yield _heads(d, False, **_at(request.lanes, request), each=1)
    heads, _, served = _sort_out(found, {})
    order = sorted(heads, key=lambda at: (-heads[at][0].priority, served[at], at))
    return order[:most]


def _may_open(at: At, states: Mapping[str, State], grant: Grant, request: Request) -> bool:
    """Whether a lane may be open by now, as far as it can be known without reading its jobs."""
    lane = Lane.parse(at[1])
    if lane is None:
        return True
    opening, *_ = lane_opening(lane, states, grant.now, costs=_FREE, pools=request.pools)
    if opening <= grant.now + request.look_ahead:
        return True
    grant.openings[at] = opening
    return False


class _Free(dict[str, int]):
    """Costs of a job that costs nothing: what is closed to it is closed to all."""

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ARG002  a mapping's arguments
        return 0


_FREE = _Free()


def _sort_out(
    found: Sequence[tuple[Any, ...]], states: Mapping[str, State]
) -> tuple[dict[At, list[Head]], int | None, dict[At, int]]:
    """The heads of lanes, the priority of the rival, and when lanes were last served."""
    heads: dict[At, list[Head]] = {}
    served: dict[At, int] = {}
    rival: int | None = None
    holders = []
    for _, what, id, queue, lane, priority, at, costs, served_at in found:
        if what == "head":
            units = {} if costs is None else loads(costs)
            head = Head(id, queue, lane, priority, at, units if isinstance(units, dict) else {})
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


def count_holders(
    holders: Sequence[tuple[str, str, int, int | None]], states: Mapping[str, State]
) -> None:
    """Add up who holds places: (status, lane, how many, first end of a lease)."""
    for status, text, count, ends in holders:
        lane = Lane.parse(text)
        for ref in lane.refs if lane is not None else ():
            state = states.get(ref.key)
            if state is None or not isinstance(state.limit, Concurrency):
                continue
            if status == "waiting" and not state.limit.while_waiting:
                continue
            state.running += count
            if ends is not None:
                state.frees_at = min(ends, state.frees_at or ends)


def _write(
    d: Dialect, request: Request, admission: Admission, states: Mapping[str, State], grant: Grant
) -> Op[None]:
    if admission.permits:
        started = Counter(key for p in admission.permits.values() for key in p.debits)
        params = {
            "worker": request.worker,
            "lease": request.lease,
            "margin": request.margin,
            "picks": dumps([{"id": id} for id in admission.permits]),
        }
        changed = sorted(admission.debited)
        debits = debit_rows((states[key] for key in changed), started)
        turns = {at: grant.now + n for n, at in enumerate(admission.served, 1)}
        served = dumps([{"queue": q, "lane": n, "at": at} for (q, n), at in turns.items()])
        if d.writes_in_ctes:
            rows = yield _take(d, debits=debits, served=served, **params)
        else:
            rows = yield _take_jobs(d, **params)
            yield _debit(d, debits=debits)
            yield _serve(d, served=served)
        claimed = {job.id: job for job in (Claimed(*row) for row in rows)}
        grant.jobs = [(claimed[id], p) for id, p in admission.permits.items() if id in claimed]
    if admission.refused:
        bad = [
            {"id": id, "error": reason, "error_code": "cost_above_limit"}
            for id, reason in admission.refused.items()
        ]
        grant.refused = yield from declare_refused(d, bad, keep=request.keep)


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
