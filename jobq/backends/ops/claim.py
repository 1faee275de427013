"""Claim due jobs, promote those that are due, and survey what else there is to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from attrs import frozen
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Executable,
    Integer,
    SmallInteger,
    Text,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    true,
    update,
)

from jobq._limits import Lane
from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, number, param, word
from jobq.backends._statement import Call, Op, Statement, reading, replanned, settled, statement
from jobq.backends.ops._moves import clock_value, lease_end

j = t.job.c
BATCH = 200
"""How many jobs one statement declares or promotes."""


class Claimed(NamedTuple):
    """A job in a worker's hands. Plain values: times in microseconds, JSON as text."""

    id: str
    type: str
    queue: str
    payload: str
    attempts: int
    max_attempts: int
    fence: int
    priority: int
    run_at: int
    started_at: int
    created_at: int
    timeout_ms: int
    expires_at: int | None
    crash_count: int
    keep_seconds: int | None
    owner: str | None
    metadata: str | None
    cancel_requested: int
    rate_limited_count: int = 0
    released_count: int = 0
    limited_since: int | None = None
    ambiguous: int = 0
    overrun_count: int = 0
    batch_id: str | None = None
    lane: str | None = None
    costs: str | None = None
    start_lane: str | None = None
    start_keys: str | None = None


CLAIMED = (
    j.id,
    j.type,
    j.queue,
    j.payload,
    j.attempts,
    func.coalesce(j.max_attempts, 3).label("max_attempts"),
    j.fence,
    j.priority,
    j.run_at,
    j.started_at,
    j.created_at,
    func.coalesce(j.timeout_ms, 0).label("timeout_ms"),
    j.expires_at,
    j.crash_count,
    j.keep_seconds,
    j.owner,
    j.metadata,
    j.cancel_requested,
    j.rate_limited_count,
    j.released_count,
    j.limited_since,
    j.ambiguous,
    j.overrun_count,
    j.batch_id,
)
LIMITED = (*CLAIMED, j.lane, j.costs, j.start_lane, j.start_keys)


def is_paused(d: Dialect, queue: Expression) -> Expression:
    p = t.queue.c
    in_force = or_(p.paused_until.is_(None), p.paused_until > d.now())
    return exists().where(p.queue == queue, d.is_set(p.paused), in_force)


def _heads(d: Dialect, table: Any, queue: Expression, type: Expression) -> Any:
    """The jobs that are next in one (queue, type), straight from the index."""
    c = table.c
    in_range = (c.queue == queue, c.type == type, d.is_set(c.ready), c.lane.is_(None))
    order = (c.priority.desc(), c.run_at, c.id)
    heads = select(c.id).where(*in_range).order_by(*order).limit(param("slots", Integer))
    return d.skip_locked(heads)


def _array(name: str, kind: Any = Text) -> Any:
    return cast(param(name, lambda: ARRAY(kind)), ARRAY(kind))


def _picked_postgres(d: Dialect, edges: bool) -> Any:
    pairs: Any
    if edges:
        names = {"queues": Text, "types": Text, "priorities": SmallInteger, "since": BigInteger}
        values = func.unnest(*(_array(name, kind) for name, kind in names.items()))
        from_edges = values.table_valued("queue", "type", "priority", "since")
        pairs = from_edges.render_derived(name="edges")
        queue = pairs.c.queue
        heads = _heads(d, t.job, queue, pairs.c.type)
        reached = d.instant(pairs.c.since)
        heads = heads.where(j.priority == pairs.c.priority, j.run_at >= reached)
    else:
        queues, types = (
            func.unnest(_array(name)).table_valued("value").render_derived(name=name)
            for name in ("queues", "types")
        )
        queue = queues.c.value
        heads = _heads(d, t.job, queue, types.c.value)
        pairs = queues.join(types, true())
    heads = heads.add_columns(j.priority, j.run_at).lateral("heads")
    best = select(heads.c.id).select_from(pairs.join(heads, true())).where(~is_paused(d, queue))
    best = best.order_by(heads.c.priority.desc(), heads.c.run_at, heads.c.id)
    # As an array, so that the update is driven from these few ids whatever the statistics say.
    return func.any(func.array(best.limit(param("slots", Integer)).scalar_subquery()))


def claims(d: Dialect, edges: bool) -> Any:
    """The write that claims, which returns what `Claimed` holds."""
    picked = j.id == _picked_postgres(d, edges)
    return update(t.job).where(picked).values(claiming(d)).returning(*d.own(CLAIMED))


@settled
def _claim(d: Dialect, edges: bool) -> Executable:
    return claims(d, edges)  # type: ignore[no-any-return]


def _each(name: str) -> Any:
    return func.json_each(param(name)).table_valued("value", name=name)


@replanned
def _pick(d: Dialect) -> Executable:
    """The ids of jobs to claim, as JSON."""
    queues, types, head = _each("queues"), _each("types"), t.job.alias("head")
    heads = _heads(d, head, queues.c.value, types.c.value)
    job = t.job.alias("candidate")
    # An outer join, so that SQLite cannot begin with the jobs, whatever ANALYZE has told it.
    # What it finds nothing for sorts last and matches no job.
    pairs = queues.join(types, true()).outerjoin(job, job.c.id.in_(heads))
    best = select(job.c.id).select_from(pairs).where(~is_paused(d, queues.c.value))
    best = best.order_by(job.c.priority.desc(), job.c.run_at, job.c.id)
    picked = best.limit(param("slots", Integer)).subquery("picked")
    return select(func.json_group_array(picked.c.id)).where(picked.c.id.is_not(None))


def _is_picked() -> Expression:
    return j.id.in_(select(_each("picked").c.value))


@replanned
def take_picked(d: Dialect) -> Executable:
    """Claim the jobs of these ids, as far as they may still be claimed."""
    still = d.check(j.ready) == number(1)  # outside of a transaction another worker may have it
    return update(t.job).where(_is_picked(), still).values(claiming(d))


@replanned
def taken_picked(d: Dialect, limited: bool) -> Executable:
    """Those of them that were claimed."""
    ours = (j.worker == param("worker"), d.check(j.status) == word("processing"))
    columns = d.wires(LIMITED) if limited else d.own(CLAIMED)
    return select(*columns).where(_is_picked(), *ours)


def compile_claims(d: Dialect) -> None:
    """Have the statements of `claim` at hand."""
    if d.locks_rows:
        _claim.compile(d, False)
        _claim.compile(d, True)
    else:
        _pick.compile(d)
        take_picked.compile(d)
        taken_picked.compile(d, False)


def claiming(d: Dialect) -> dict[str, Any]:
    """The columns of a job that a worker takes."""
    returns = j.status == word("waiting")
    return {
        "status": word("processing"),
        "ready": d.flag(number(0)),
        "fence": d.fence(),
        "worker": param("worker"),
        "lease_until": lease_end(d, d.now()),
        "attempts": j.attempts + number(1),
        "started_at": d.now(),
        "updated_at": d.now(),
        "progress": case((returns, j.progress), else_=number(0)),
        "message": case((returns, j.message), else_=None),
        "version": j.version + number(1),
    }


def claim(
    d: Dialect,
    *,
    queues: Sequence[str],
    types: Sequence[str],
    slots: int,
    worker: str,
    lease: int,
    margin: int,
    edges: Sequence[tuple[str, str, int, int]] = (),
) -> Op[list[Claimed]]:
    """Take up to `slots` due jobs of these queues and types, the most urgent first.

    `lease` and `margin` in microseconds: the lease ends after the one, but not later than the
    job's deadline plus the other. With `edges` (queue, type, priority, `run_at`), only of these,
    and none that is older.
    """
    lasting: dict[str, Any] = {"worker": worker, "lease": lease, "margin": margin}
    if d.locks_rows:
        where: dict[str, Any] = {"queues": queues, "types": types, "edges": edges}
        rows = yield asked(d, _claim, **where, slots=slots, **lasting)
    else:
        rows = yield from _claim_in_steps(d, queues, types, slots, lasting)
    return in_order(rows)


def _claim_in_steps(
    d: Dialect,
    queues: Sequence[str],
    types: Sequence[str],
    slots: int,
    lasting: dict[str, Any],
) -> Op[list[Any]]:
    """Three statements take SQLite half as long as one that returns what it writes."""
    where = {"queues": dumps(list(queues)), "types": dumps(list(types))}
    [(picked,)] = yield _pick(d, **where, slots=slots)
    if picked == "[]":
        return []
    yield take_picked(d, picked=picked, **lasting)
    return (yield taken_picked(d, False, picked=picked, worker=lasting["worker"]))


def asked(
    d: Dialect,
    how: Statement,
    *,
    queues: Sequence[str],
    types: Sequence[str],
    edges: Sequence[tuple[str, str, int, int]] = (),
    **params: Any,
) -> Call:
    """The call of a statement with `claims` in it."""
    names: dict[str, Any] = {"queues": list(queues), "types": list(types)}
    if edges:
        among = ("queues", "types", "priorities", "since")
        names = {
            name: list(values) for name, values in zip(among, zip(*edges, strict=True), strict=True)
        }
    return how(d, bool(edges), **names, **params)


def in_order(rows: Sequence[Any]) -> list[Claimed]:
    """What a claim returned, the most urgent first."""
    claimed = [Claimed(*row) for row in rows]
    claimed.sort(key=lambda job: (-job.priority, job.run_at, job.id))
    return claimed


@frozen(kw_only=True)
class Survey:
    """What there is to do besides claiming. Instants in microseconds."""

    now: int
    undeclared: bool
    unfit: bool
    """Whether jobs without a lane may be claimed although their type or queue has limits."""
    next_run_at: int | None
    next_resume: int | None


@statement
def _promote(d: Dialect) -> Executable:
    due = select(j.id).where(d.predicate(t.SCHEDULED), j.run_at <= d.now())
    due = due.with_hint(t.job, *t.BY_RUN_AT)
    due = d.skip_locked(due.order_by(j.run_at).limit(number(BATCH)))
    return update(t.job).where(j.id.in_(due)).values(ready=d.flag(number(1))).returning(j.queue)


def _unfit_jobs(d: Dialect, pairs: Any) -> Any:
    fits = (j.queue == pairs.c.queue, j.type == pairs.c.type)
    return select(j.id).where(*fits, d.is_set(j.ready), j.lane.is_(None))


@statement
def _survey(d: Dialect, limits: bool) -> Executable:
    types = d.rows("types", type=Text)
    unknown = d.predicate(t.UNDECLARED)
    undeclared = select(number(1)).where(j.type == types.c.type, unknown).correlate(types)
    next_run_at = select(d.wire(func.min(j.run_at))).where(d.predicate(t.SCHEDULED))
    next_run_at = next_run_at.with_hint(t.job, *t.BY_RUN_AT)
    p = t.queue.c
    next_resume = select(d.wire(func.min(p.paused_until))).where(
        d.is_set(p.paused), p.paused_until > d.now()
    )
    unfit: Any = number(0)
    if limits:
        pairs = d.rows("unfit", queue=Text, type=Text)
        found = _unfit_jobs(d, pairs).correlate(pairs).exists()
        unfit = select(func.count()).select_from(pairs).where(found).scalar_subquery()
    return select(
        clock_value(d),
        select(func.count()).select_from(types).where(undeclared.exists()).scalar_subquery(),
        unfit.label("unfit"),
        next_run_at.scalar_subquery(),
        next_resume.scalar_subquery(),
    )


@reading
def survey(
    d: Dialect, *, types: Sequence[str], unfit: Sequence[tuple[str, str]] = ()
) -> Op[Survey]:
    """Look what there is to do besides claiming, and when the next thing is due.

    `unfit` are the (queue, type) pairs whose jobs all must have a lane.
    """
    wanted = dumps([{"type": name} for name in types])
    params = {"unfit": pair_rows(unfit)} if unfit else {}
    [row] = yield _survey(d, bool(unfit), types=wanted, **params)
    now, undeclared, misfits, next_run_at, next_resume = row
    return Survey(
        now=now,
        undeclared=bool(undeclared),
        unfit=bool(misfits),
        next_run_at=next_run_at,
        next_resume=next_resume,
    )


def pair_rows(pairs: Sequence[tuple[str, str]]) -> str:
    """The parameter `unfit`, each with the lane of a job that needs nothing."""
    rows = [(queue, type, Lane(type, ()).text) for queue, type in pairs]
    return dumps([{"queue": queue, "type": type, "lane": lane} for queue, type, lane in rows])


def promote(d: Dialect) -> Op[int]:
    """Make a batch of declared jobs claimable that have become due; how many."""
    promoted = yield _promote(d)
    return len(promoted)


@replanned
def _due_within(d: Dialect, some: bool) -> Executable:
    types = d.rows("types", type=Text)
    soon = d.later(d.now(), param("within", BigInteger))
    due = select(d.wire(func.min(j.run_at)))
    due = due.select_from(types.join(t.job, j.type == types.c.type))
    due = due.where(d.predicate(t.SCHEDULED), j.run_at <= soon, ~is_paused(d, j.queue))
    due = due.with_hint(t.job, *t.BY_RUN_AT)
    if some:
        queues = d.rows("queues", queue=Text)
        due = due.where(j.queue.in_(select(queues.c.queue)))
    return select(clock_value(d), due.scalar_subquery())


@reading
def due_within(
    d: Dialect, *, types: Sequence[str], queues: Sequence[str] | None, within: int
) -> Op[int | None]:
    """Microseconds until the next job of these is due, if that is within so many."""
    params = {"types": dumps([{"type": name} for name in types]), "within": within}
    if queues is not None:
        params["queues"] = dumps([{"queue": name} for name in queues])
    [(now, due)] = yield _due_within(d, queues is not None, **params)
    return None if due is None else max(0, due - now)
