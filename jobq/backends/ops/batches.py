"""Batches: store one with its jobs, and notice when the last of them has ended.

Nothing is counted while jobs run: that a batch has ended is seen from its jobs, whatever ended
them, and written down once. So nothing can be counted twice, or be missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen
from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    Text,
    delete,
    func,
    select,
    update,
)

from jobq._batch import BatchInfo
from jobq._model import LIVE, Job, JobStatus, instant
from jobq._owners import Bound
from jobq._payload import dumps, loads
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, is_one_of, number, param
from jobq.backends._statement import Op, atomic, knows_again, reading, statement
from jobq.backends.ops.insert import NewRow, Terms, insert_many
from jobq.backends.ops.owners import Answer, insert_many_within

b = t.batch.c
j = t.job.c
CHUNK = 1000
NO_BOUNDS: Mapping[str, Sequence[Bound]] = {}
SOME = 100
"""How many batches are ended in one transaction."""


@frozen(kw_only=True)
class NewBatch:
    """A batch ready to be stored, with the row of the job that follows it."""

    id: str
    owner: str | None
    then: NewRow | None


@statement
def _insert(d: Dialect) -> Executable:
    values = {
        "id": d.id(param("id")),
        "owner": param("owner"),
        "total": param("total", Integer),
        "then_row": d.json(param("then_row")),
        "then_id": d.id(param("then_id")),
        "created_at": d.now(),
    }
    new = d.insert(t.batch).values(values).on_conflict_do_nothing()
    return new.returning(b.total)  # type: ignore[no-any-return]


@statement
def _set_total(d: Dialect) -> Executable:
    return update(t.batch).where(b.id == d.id(param("id"))).values(total=param("total", Integer))


@atomic
@knows_again
def insert_batch(
    d: Dialect,
    batch: NewBatch,
    rows: Sequence[NewRow],
    bounds: Mapping[str, Sequence[Bound]] = NO_BOUNDS,
    *,
    keep: int | None,
    again: bool = False,
) -> Op[tuple[list[Answer], list[Job]] | None]:
    """Store a batch and its jobs: their answers in order, and the job that follows at once.

    That is where there are none to wait for. A job whose unique key is held is answered by the
    one that holds it, which is no part of the batch; nor is one whose owner may have no more.
    `None` where the batch exists already.
    """
    then = batch.then
    stored = yield _insert(
        d,
        id=batch.id,
        owner=batch.owner,
        total=len(rows),
        then_row=None if then is None else dumps(then.params()),
        then_id=None if then is None else then.id,
    )
    if not stored and not again:
        return None
    jobs: list[Answer] = []
    within = {terms: evolve(terms, batch_id=batch.id) for terms in {row.terms for row in rows}}
    rows = [evolve(row, terms=within[row.terms]) for row in rows]
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        jobs += yield from insert_many_within(d, some, bounds, notify=True, again=not stored)
    if not stored:
        return jobs, []
    created = sum(isinstance(job, Job) and job.created for job in jobs)
    if created < len(rows):
        yield _set_total(d, id=batch.id, total=created)
    follows = (yield from end_batches(d, [batch.id], keep=keep)) if not created else []
    return jobs, follows


def _unfinished() -> Expression:
    """Whether the batch at hand has a job that has not ended."""
    live = select(number(1)).where(j.batch_id == b.id, is_one_of(j.status, LIVE))
    return live.select_from(t.job).correlate(t.batch).exists()


@statement
def _end(d: Dialect, some: bool) -> Executable:
    which = select(b.id).where(d.predicate(t.OPEN), ~_unfinished()).limit(number(SOME))
    if some:
        ids = d.rows("rows", id=Text)
        which = which.where(b.id.in_(select(d.id(ids.c.id))))
    which = d.skip_locked(which)  # whoever has its row is ending it
    values = {"ended_at": d.now(), "prune_at": d.later(d.now(), param("keep", BigInteger))}
    ended = update(t.batch).where(b.id.in_(which)).values(values)
    return ended.returning(*d.wires([b.then_row]))


@atomic
def end_batches(d: Dialect, ids: Sequence[str] | None, *, keep: int | None) -> Op[list[Job]]:
    """Enqueue what follows batches whose jobs have all ended: of these, or of any.

    The jobs that were enqueued: once for each batch, whoever asks, and however many do.
    """
    rows = {} if ids is None else {"rows": dumps([{"id": id} for id in ids])}
    ended = yield _end(d, ids is not None, keep=keep, **rows)
    follow = [_row(loads(text)) for (text,) in ended if text is not None]
    if not follow:
        return []
    return (yield from insert_many(d, follow, notify=True))


def _row(given: dict[str, Any]) -> NewRow:
    """The row that `NewRow.params` tells of."""
    return NewRow(id=given.pop("id"), payload=given.pop("payload"), terms=Terms(**given))


def any_ended(d: Dialect) -> Expression:
    """Whether there is a batch to end."""
    return select(b.id).where(d.predicate(t.OPEN), ~_unfinished()).exists()


def past_retention(d: Dialect) -> Any:
    """The batches that are to be forgotten."""
    return select(b.id).where(b.prune_at.is_not(None), b.prune_at <= d.now())


@statement
def _prune(d: Dialect, by_age: bool) -> Executable:
    if by_age:
        age = d.later(d.now(), number(0) - param("age", BigInteger))
        return delete(t.batch).where(b.ended_at < age)
    return delete(t.batch).where(b.id.in_(past_retention(d)))


def prune_batches(d: Dialect, *, age: int | None) -> Op[None]:
    """Forget batches that are past their retention, or ended `age` microseconds ago."""
    yield _prune(d, age is not None, age=age)


@statement
def _get(d: Dialect) -> Executable:
    columns = (b.id, b.owner, b.total, b.created_at, b.ended_at, b.then_id)
    return select(*d.wires(columns)).where(b.id == d.id(param("id")))


@statement
def _counted(d: Dialect) -> Executable:
    mine = j.batch_id == d.id(param("id"))
    return select(j.status, func.count()).where(mine).group_by(j.status)


@reading
def get_batch(d: Dialect, id: str) -> Op[BatchInfo | None]:
    """A batch as it stands."""
    rows = yield _get(d, id=id)
    if not rows:
        return None
    [(id, owner, total, created_at, ended_at, then_id)] = rows
    counts = yield _counted(d, id=id)
    return BatchInfo(
        id=id,
        owner=owner,
        total=total,
        by_status={JobStatus(status): count for status, count in counts},
        created_at=instant(created_at),  # type: ignore[arg-type]
        ended_at=instant(ended_at),
        then_id=then_id,
    )
