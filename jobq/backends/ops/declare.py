"""Declare jobs whose enqueuer did not know their handler, or refuse them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from sqlalchemy import BigInteger, Executable, Integer, Text, and_, null, select, update

from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, word
from jobq.backends._statement import Op, statement
from jobq.backends.ops._moves import may
from jobq.backends.ops.claim import BATCH, pair_rows
from jobq.backends.ops.finish import refusal

j = t.job.c


@frozen
class Undeclared:
    """A job whose handler its enqueuer did not know; `given` names the options it set."""

    id: str
    type: str
    payload: str
    queue: str
    priority: int
    max_attempts: int | None
    timeout_ms: int | None
    keep_seconds: int | None
    given: str | None
    owner: str | None
    metadata: str | None
    costs: str | None
    webhook: str | None


NEW = (
    j.id,
    j.type,
    j.payload,
    j.queue,
    j.priority,
    j.max_attempts,
    j.timeout_ms,
    j.keep_seconds,
    j.given,
    j.owner,
    j.metadata,
    j.costs,
    j.webhook,
)


@statement
def _undeclared(d: Dialect) -> Executable:
    types = d.rows("types", type=Text)
    new = select(*d.wires(NEW)).select_from(types.join(t.job, j.type == types.c.type))
    new = new.where(d.predicate(t.UNDECLARED)).order_by(j.id).limit(number(BATCH))
    return d.skip_locked(new, t.job)


def undeclared(d: Dialect, *, types: Sequence[str]) -> Op[list[Undeclared]]:
    """Jobs of these types that wait to be declared, at most a batch."""
    rows = yield _undeclared(d, types=dumps([{"type": name} for name in types]))
    return [Undeclared(*row) for row in rows]


@statement
def _declare(d: Dialect) -> Executable:
    new = d.rows(
        "rows",
        id=Text,
        queue=Text,
        payload=Text,
        priority=Integer,
        max_attempts=Integer,
        timeout_ms=BigInteger,
        keep_seconds=BigInteger,
        lane=Text,
        costs=Text,
        on_ambiguous=Text,
        webhook=Text,
    )
    values = {
        "declared": d.flag(number(1)),
        "ready": d.truth(j.run_at <= d.now()),
        "payload": d.json(new.c.payload),
        "queue": new.c.queue,
        "priority": new.c.priority,
        "max_attempts": new.c.max_attempts,
        "timeout_ms": new.c.timeout_ms,
        "keep_seconds": new.c.keep_seconds,
        "lane": new.c.lane,
        "start_lane": null(),
        "start_keys": null(),
        "costs": d.json(new.c.costs),
        "on_ambiguous": new.c.on_ambiguous,
        "webhook": new.c.webhook,
        "given": null(),
    }
    open_ = (d.is_unset(j.declared), may(d, "claim"))
    return (
        update(t.job)
        .where(j.id == d.id(new.c.id), *open_)
        .values(values)
        .returning(*d.wires([j.id]))
    )


def declare(d: Dialect, rows: Sequence[dict[str, Any]]) -> Op[list[str]]:
    """Store what a worker that knows the handlers derived; the ids of the declared jobs."""
    stored = yield _declare(d, rows=dumps(rows))
    return [row[0] for row in stored]


@statement
def _refuse(d: Dialect) -> Executable:
    bad = d.rows("rows", id=Text, error=Text, error_code=Text)
    values = refusal(d, bad.c.error, bad.c.error_code)
    return (
        update(t.job)
        .where(j.id == d.id(bad.c.id), may(d, "refuse"))
        .values(values)
        .returning(*d.wires([j.id]))
    )


def declare_refused(
    d: Dialect, rows: Sequence[dict[str, Any]], *, keep: int | None
) -> Op[list[str]]:
    """End jobs that cannot be run: rows of id, error and error_code."""
    refused = yield _refuse(d, rows=dumps(rows), keep=keep)
    return [row[0] for row in refused]


@statement
def _undeclare(d: Dialect) -> Executable:
    pairs = d.rows("unfit", queue=Text, type=Text)
    fits = and_(j.queue == pairs.c.queue, j.type == pairs.c.type)
    some = select(j.id).select_from(pairs.join(t.job, fits))
    free = (d.is_set(j.ready), j.lane.is_(None), d.check(j.status) != word("waiting"))
    some = some.where(*free).limit(number(BATCH))
    values = {
        "declared": d.flag(number(0)),
        "ready": d.flag(number(0)),
        "given": word("queue,priority"),
    }
    these = j.id.in_(d.skip_locked(some, t.job))
    return update(t.job).where(these).values(values).returning(*d.wires([j.id]))


def undeclare(d: Dialect, pairs: Sequence[tuple[str, str]]) -> Op[int]:
    """Have jobs declared anew that were stored before their type or queue had limits."""
    rows = yield _undeclare(d, unfit=pair_rows(pairs))
    yield _give_lane(d, unfit=pair_rows(pairs))
    return len(rows)


@statement
def _give_lane(d: Dialect) -> Executable:
    """Jobs that return from waiting have started already: they need none of the new limits."""
    pairs = d.rows("unfit", queue=Text, type=Text, lane=Text)
    fits = and_(j.queue == pairs.c.queue, j.type == pairs.c.type, d.is_set(j.ready))
    these = and_(fits, j.lane.is_(None), d.check(j.status) == word("waiting"))
    return update(t.job).where(these).values(lane=pairs.c.lane).returning(j.queue)
