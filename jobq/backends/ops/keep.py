"""Keep running jobs alive, and the tables tidy: renew, rescue, expire, prune."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    Text,
    and_,
    case,
    func,
    select,
    update,
)

from jobq._model import FINISHED
from jobq._outcome import Transition
from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, is_one_of, number, param, word
from jobq.backends._statement import Call, Op, atomic, reading, replanned, statement
from jobq.backends.ops._ending import Ending
from jobq.backends.ops._moves import held, lease_end, may
from jobq.backends.ops.batches import any_ended, past_retention, prune_batches
from jobq.backends.ops.finish import finish, refusal
from jobq.backends.ops.remove import remove
from jobq.backends.ops.stats import old

j = t.job.c
BATCH = 500


@frozen
class Renewal:
    """What a heartbeat learned about one held job."""

    id: str
    held: bool
    """Whether the claim is still valid, even where the row was locked and not renewed."""
    cancel_requested: bool


@replanned
def _renew(d: Dialect) -> Executable:
    mine = d.rows("rows", id=Text, fence=BigInteger)
    # A handler's open transaction may hold its job's row; the other jobs must not wait for it.
    free = d.skip_locked(select(j.id).join(mine, held(d, mine)), t.job)
    return (
        update(t.job)
        .where(j.id.in_(free))
        .values(lease_until=lease_end(d, j.started_at))
        .returning(*d.wires([j.id]))
    )


@replanned
def _standing(d: Dialect) -> Executable:
    mine = d.rows("rows", id=Text, fence=BigInteger)
    return select(*d.wires([j.id, j.cancel_requested])).join(mine, held(d, mine))


def renew(
    d: Dialect, jobs: Sequence[tuple[str, int]], *, lease: int, margin: int
) -> Op[list[Renewal]]:
    """Renew the leases of held jobs, given as (id, fence): lease and margin in microseconds."""
    rows = dumps([{"id": id, "fence": fence} for id, fence in jobs])
    yield _renew(d, rows=rows, lease=lease, margin=margin)
    standing: dict[str, int] = dict((yield _standing(d, rows=rows)))
    return [Renewal(id, id in standing, bool(standing.get(id))) for id, _ in jobs]


@replanned
def _progress(d: Dialect) -> Executable:
    mine = d.rows("rows", id=Text, fence=BigInteger, progress=Integer, message=Text, partial=Text)
    free = d.skip_locked(select(j.id).join(mine, held(d, mine)), t.job)
    further = case((mine.c.progress > j.progress, mine.c.progress), else_=j.progress)
    values = {
        "progress": further,
        "message": func.coalesce(mine.c.message, j.message),
        "partial": func.coalesce(d.json(mine.c.partial), j.partial),
        "version": j.version + number(1),
        "updated_at": d.now(),
    }
    unlocked = and_(held(d, mine), j.id.in_(free))
    return update(t.job).where(unlocked).values(values).returning(*d.wires([j.id]))


def progress(d: Dialect, rows: Sequence[dict[str, object]]) -> Op[list[str]]:
    """Store progress: rows of id, fence, progress, message, partial. The ids that were stored."""
    stored = yield _progress(d, rows=dumps(rows))
    return [row[0] for row in stored]


EXPIRED = (
    j.id,
    j.fence,
    j.type,
    j.attempts,
    func.coalesce(j.max_attempts, 3).label("max_attempts"),
    j.crash_count,
    j.started_at,
    j.worker,
    j.on_ambiguous,
    j.queue,
)


@frozen
class Orphan:
    """A running job whose lease has ended."""

    id: str
    fence: int
    type: str
    attempts: int
    max_attempts: int
    crash_count: int
    started_at: int
    worker: str | None
    on_ambiguous: str | None
    queue: str


@frozen
class Overdue:
    """What of the upkeep has something to do."""

    rescue: bool
    expire: bool
    prune: bool
    batches: bool
    stats: bool


def _lost(d: Dialect) -> Expression:
    return and_(j.status == word("processing"), j.lease_until < d.now())


def _late(d: Dialect) -> Any:
    late = select(j.id).where(d.predicate(t.EXPIRING), may(d, "refuse"), j.expires_at <= d.now())
    return late.with_hint(t.job, *t.BY_EXPIRY)


def _past_retention(d: Dialect) -> Expression:
    return and_(j.prune_at.is_not(None), j.prune_at <= d.now())


@statement
def _overdue(d: Dialect) -> Executable:
    lost = select(j.id).where(_lost(d)).with_hint(t.job, *t.BY_STATUS)
    prunable = select(j.id).where(_past_retention(d)).exists() | past_retention(d).exists()
    some = (lost.exists(), _late(d).exists(), prunable, any_ended(d), old(d).exists())
    return select(*(case((found, number(1)), else_=number(0)) for found in some))


@reading
def overdue(d: Dialect) -> Op[Overdue]:
    """Look whether there is anything to rescue, to expire or to prune, or a batch to end."""
    [row] = yield _overdue(d)
    return Overdue(*map(bool, row))


@statement
def _orphans(d: Dialect, of_worker: bool) -> Executable:
    lost = _lost(d)
    if of_worker:
        lost = and_(j.status == word("processing"), j.worker == param("worker"))
    orphans = select(*d.wires(EXPIRED)).where(lost).order_by(j.id).limit(number(BATCH))
    return d.skip_locked(orphans)


@atomic
def rescue(
    d: Dialect, decide: Callable[[Orphan], Transition], *, keep: int | None
) -> Op[list[tuple[Orphan, str]]]:
    """End the attempts of workers that stopped renewing: the orphans, with their new status."""
    return (yield from _take(d, _orphans(d, False), decide, keep=keep))


@atomic
def give_back(
    d: Dialect, worker: str, decide: Callable[[Orphan], Transition], *, keep: int | None
) -> Op[list[tuple[Orphan, str]]]:
    """End whatever a worker that is leaving still holds."""
    return (yield from _take(d, _orphans(d, True, worker=worker), decide, keep=keep))


def _take(
    d: Dialect, query: Call, decide: Callable[[Orphan], Transition], *, keep: int | None
) -> Op[list[tuple[Orphan, str]]]:
    orphans = [Orphan(*row) for row in (yield query)]
    if not orphans:
        return []
    endings = [
        Ending(o.id, o.fence, o.attempts, o.started_at, o.worker, decide(o)) for o in orphans
    ]
    done = yield from finish(d, endings, keep=keep)
    return [(orphan, done[orphan.id]) for orphan in orphans if orphan.id in done]


@statement
def _expire(d: Dialect) -> Executable:
    late = d.skip_locked(_late(d).limit(number(BATCH)))
    reason = word("it was not started before its expires_at")
    values = refusal(d, reason, word("expired"))
    return update(t.job).where(j.id.in_(late)).values(values).returning(*d.wires([j.id]))


def expire(d: Dialect, *, keep: int | None) -> Op[list[str]]:
    """Fail jobs that were not started before their `expires_at`."""
    rows = yield _expire(d, keep=keep)
    return [row[0] for row in rows]


@statement
def _prunable(d: Dialect, by_age: bool) -> Executable:
    finished = select(*d.wires([j.id]))
    if by_age:  # also those that are kept for ever
        age = d.later(d.now(), number(0) - param("age", BigInteger))
        old = finished.where(is_one_of(j.status, FINISHED), j.completed_at < age).order_by(j.id)
    else:
        old = finished.where(_past_retention(d)).order_by(j.prune_at)
    return d.skip_locked(old.limit(number(BATCH)))


@atomic
def prune(d: Dialect, *, age: int | None = None) -> Op[list[str]]:
    """Delete a batch of finished jobs: past their retention, or older than `age` microseconds."""
    old = yield _prunable(d, age is not None, age=age)
    if old:
        yield from remove(d, [row[0] for row in old])
    yield from prune_batches(d, age=age)
    return [row[0] for row in old]
