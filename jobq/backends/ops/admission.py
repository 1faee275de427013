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
    Text,
    select,
    update,
)

from jobq._limits import Lane
from jobq._limits.admit import Admission, Permit, State, admit, lane_opening, options_of
from jobq._limits.declared import Concurrency
from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number
from jobq.backends._statement import Op, atomic, replanned, statement
from jobq.backends.ops.claim import LIMITED, Claimed, claiming, take_picked, taken_picked
from jobq.backends.ops.declare import declare_refused
from jobq.backends.ops.heads import At, heads_of, sort_out
from jobq.backends.ops.limits import debit_rows, debiting, lock

j = t.job.c
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
    declared: Mapping[str, str] = field(factory=dict)
    """The numbers that the worker declares, in JSON: they hold where none are stored."""
    yields: bool = False
    """Whether those that are as urgent go first, too."""


@define
class Grant:
    """What a worker got."""

    now: int = 0
    """The database's clock when it was decided."""
    asked_at: float = 0.0
    """This process's monotonic clock just before that."""
    answered_at: float = 0.0
    """And as soon as the answer was here: the commit that follows takes its time."""
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
    ranked: list[At] = field(factory=list)
    """Where more lanes are as urgent than a claim looks into: all those, in turn."""


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


def _serving(d: Dialect) -> Any:
    new = d.rows("served", queue=Text, lane=Text, at=BigInteger)
    values = select(new.c.queue, new.c.lane, d.instant(new.c.at)).where(number(1) == number(1))
    insert: Any = d.insert(t.lane).from_select(
        ["queue", "lane", "served_at"], values.order_by(new.c.queue, new.c.lane)
    )
    return insert.on_conflict_do_update(
        index_elements=["queue", "lane"], set_={"served_at": insert.excluded.served_at}
    )


@replanned
def _take(d: Dialect) -> Executable:
    """Claims, debits and turns in one statement."""
    picks = d.rows("picks", id=Text)
    still = (d.is_set(j.ready), j.lane.is_not(None))
    taking = update(t.job).where(j.id == d.id(picks.c.id), *still).values(claiming(d))
    taken = taking.returning(*LIMITED).cte("taken")
    debited, served = debiting(d).cte("debited"), _serving(d).cte("noted")
    columns = [taken.c[column.name] for column in LIMITED]
    return select(*d.wires(columns)).add_cte(debited, served)


@statement
def _debit(d: Dialect) -> Executable:
    return debiting(d)  # type: ignore[no-any-return]


@statement
def _serve(d: Dialect) -> Executable:
    return _serving(d)  # type: ignore[no-any-return]


def _compile_writes(d: Dialect) -> None:
    if d.writes_in_ctes:
        _take.compile(d)
        return
    take_picked.compile(d)
    taken_picked.compile(d, True)
    _debit.compile(d)
    _serve.compile(d)


@atomic
def claim_limited(d: Dialect, request: Request) -> Op[Grant]:
    """Claim jobs of lanes as far as their limits allow, and debit those."""
    _compile_writes(d)  # before anything is locked, and before starts can be late
    asked: Sequence[At] = request.lanes
    ranked: list[At] = []
    if len(asked) > (most := max(FEW, 4 * request.slots)):
        asked, ranked = yield from _foremost(d, request, most)
    keys = wanted_keys(asked, request.pools)
    began, rows = yield from lock(d, keys, request.declared)
    grant = Grant(now=began or 0, missing=[key for key in keys if key not in rows])
    grant.ranked = ranked
    if grant.missing:
        return grant
    states = {key: row.state for key, row in rows.items()}
    open_lanes = [at for at in asked if _may_open(at, states, grant, request)]
    if not open_lanes:
        return grant
    counting = any(isinstance(state.limit, Concurrency) for state in states.values())
    each = max(1, min(request.slots, 4 * request.slots // len(open_lanes)))
    looking = heads_of(d, counting, True, **_at(open_lanes, request), each=each)
    grant.asked_at = time.monotonic()
    found = yield looking
    grant.answered_at = time.monotonic()
    heads, rival, served = sort_out(found, states)
    grant.now = found[0][0]
    grant.costs = {at: some[0].costs for at, some in heads.items() if some[0].costs}
    grant.empty = [at for at in open_lanes if at not in heads]
    if rival is not None:
        least = rival + 1 if request.yields else rival
        heads = {at: some for at, some in heads.items() if some[0].priority >= least}
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
    """Parameters of `heads_of`."""
    return {
        "lanes": dumps([{"queue": queue, "lane": lane} for queue, lane in lanes]),
        "queues": dumps([{"queue": queue} for queue in request.rivals[0]]),
        "types": dumps([{"type": type} for type in request.rivals[1]]),
    }


def _foremost(d: Dialect, request: Request, most: int) -> Op[tuple[list[At], list[At]]]:
    """The lanes that are to be served first, so that a claim need not lock the limits of all.

    And the order of them all, where all that come first are as urgent.
    """
    found = yield heads_of(d, False, False, **_at(request.lanes, request), each=1)
    heads, _, served = sort_out(found, {})
    order = sorted(heads, key=lambda at: (-heads[at][0].priority, served[at], at))
    highest = heads[order[0]][0].priority if order else 0
    alike = [at for at in order if heads[at][0].priority == highest]
    return order[:most], alike if len(alike) > most else []


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


def _write(
    d: Dialect, request: Request, admission: Admission, states: Mapping[str, State], grant: Grant
) -> Op[None]:
    if admission.permits or admission.debited:
        started = Counter(key for p in admission.permits.values() for key in p.debits)
        params = {
            "worker": request.worker,
            "lease": request.lease,
            "margin": request.margin,
        }
        changed = sorted(admission.debited)
        debits = debit_rows((states[key] for key in changed), grant.now, started)
        turns = {at: grant.now + n for n, at in enumerate(admission.served, 1)}
        served = dumps([{"queue": q, "lane": n, "at": at} for (q, n), at in turns.items()])
        if d.writes_in_ctes:
            picks = dumps([{"id": id} for id in admission.permits])
            rows = yield _take(d, debits=debits, served=served, picks=picks, **params)
        else:
            picked = dumps(list(admission.permits))
            yield take_picked(d, picked=picked, **params)
            rows = yield taken_picked(d, True, picked=picked, worker=request.worker)
            yield _debit(d, debits=debits)
            yield _serve(d, served=served)
        claimed = {job.id: job for job in map(Claimed._make, rows)}
        grant.jobs = [(claimed[id], p) for id, p in admission.permits.items() if id in claimed]
    if admission.refused:
        bad = [
            {"id": id, "error": reason, "error_code": "cost_above_limit"}
            for id, reason in admission.refused.items()
        ]
        grant.refused = yield from declare_refused(d, bad, keep=request.keep)
