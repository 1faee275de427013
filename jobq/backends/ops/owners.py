"""Enqueue what owners may still have waiting: counted and stored while nobody else can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Executable, Integer, Text, cast, func, select, update

from jobq._errors import DuplicateJob, OwnerLimitExceeded
from jobq._model import Job
from jobq._owners import Bound
from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, param
from jobq.backends._statement import Op, atomic, knows_again, statement
from jobq.backends.ops import read
from jobq.backends.ops._rows import JOB, to_job
from jobq.backends.ops.insert import NewRow, insert, insert_many

j = t.job.c
Answer = Job | OwnerLimitExceeded
SEED = 7_236_410
"""Of the hash that PostgreSQL's advisory locks of owners go by."""


@statement
def _lock(d: Dialect) -> Executable:
    if not d.locks_rows:  # any write takes the file's lock, and begins a caller's transaction
        return update(t.queue).where(number(0) == number(1)).values(queue=t.queue.c.queue)
    owners = d.rows("rows", owner=Text)
    some = select(owners.c.owner).order_by(owners.c.owner).subquery()
    hashed = func.hashtextextended(some.c.owner, cast(number(SEED), BigInteger))
    # The void that it returns is no text or number.
    return select(func.count(func.pg_advisory_xact_lock(hashed))).select_from(some)


def _lock_owners(d: Dialect, owners: Iterable[str]) -> Op[None]:
    """Let nobody else enqueue for these owners until the transaction ends.

    It has to be a statement of its own: what is counted after it has to see what others committed
    while it waited.
    """
    rows = dumps([{"owner": owner} for owner in sorted(set(owners))])
    yield _lock(d, **({"rows": rows} if d.locks_rows else {}))


@statement
def _waiting(d: Dialect, typed: bool) -> Executable:
    mine = select(j.id).where(d.predicate(t.QUEUED), j.owner == param("owner"))
    if typed:
        mine = mine.where(j.type == param("type"))
    some = mine.limit(param("most", Integer)).subquery()
    return select(func.count()).select_from(some)


class _Room:
    """How many more jobs owners may have, as they are stored one after the other."""

    def __init__(self) -> None:
        self._left: dict[tuple[str, Bound], int] = {}

    def look(self, d: Dialect, owner: str, bounds: Sequence[Bound]) -> Op[None]:
        for bound in bounds:
            if (owner, bound) not in self._left:
                asked: dict[str, Any] = {"owner": owner, "most": bound.most, "type": bound.type}
                [(count,)] = yield _waiting(d, bound.type is not None, **asked)
                self._left[owner, bound] = bound.most - count

    def take(self, owner: str, bounds: Sequence[Bound]) -> OwnerLimitExceeded | None:
        """Count one more job, or say which bound it would exceed."""
        for bound in bounds:
            if self._left[owner, bound] < 1:
                return OwnerLimitExceeded(owner, bound.most, bound.type)
        for bound in bounds:
            self._left[owner, bound] -= 1
        return None


@statement
def _holder(d: Dialect, key: str) -> Executable:
    held = select(*d.wires((*JOB, j.idempotency_hash)))
    if key == "unique_key":
        same = (j.type == param("type"), j.unique_key == param("key"))
        return held.where(d.predicate(t.UNIQUE), *same)
    same = (func.coalesce(j.owner, "") == param("owner"), j.idempotency_key == param("key"))
    return held.where(d.predicate(t.IDEMPOTENT), *same)


def _held(d: Dialect, row: NewRow) -> Op[Job | None]:
    """The job that holds the key of a row: asking for it again enqueues nothing."""
    for name in ("unique_key", "idempotency_key"):
        key = getattr(row.terms, name)
        if key is None:
            continue
        rows = yield _holder(d, name, type=row.terms.type, owner=row.terms.owner, key=key)
        for found in rows:
            job = to_job(found, created=False)
            if name == "idempotency_key" and found[-1] != row.terms.idempotency_hash:
                raise DuplicateJob(row.terms.type, key, job.id, what=name)
            return job
    return None


@atomic
@knows_again
def insert_within(
    d: Dialect,
    row: NewRow,
    bounds: Sequence[Bound],
    *,
    notify: bool = False,
    again: bool = False,
) -> Op[Job]:
    """`insert`, as long as the owner has no more jobs waiting than these bounds allow.

    Raises `OwnerLimitExceeded` otherwise, unless another job holds its key.
    """
    if again:
        for job in (yield from read.get_many(d, [row.id])):
            return job
    owner = row.terms.owner or ""
    yield from _lock_owners(d, [owner])
    room = _Room()
    yield from room.look(d, owner, bounds)
    refused = room.take(owner, bounds)
    if refused is None:
        return (yield from insert(d, row, notify=notify))
    held = yield from _held(d, row)
    if held is None:
        raise refused
    return held


@atomic
@knows_again
def insert_many_within(
    d: Dialect,
    rows: Sequence[NewRow],
    bounds: Mapping[str, Sequence[Bound]],
    *,
    notify: bool = False,
    again: bool = False,
) -> Op[list[Answer]]:
    """`insert_many` of those that the bounds of their types allow; the answers in order."""
    answers: dict[str, Answer] = {}
    if again:
        known = yield from read.get_many(d, [row.id for row in rows])
        answers = {job.id: job for job in known}
    room = _Room()
    mine = [row for row in rows if row.terms.owner is not None and bounds.get(row.terms.type)]
    if mine:
        yield from _lock_owners(d, [row.terms.owner for row in mine if row.terms.owner is not None])
    good: list[NewRow] = []
    for row in rows:
        if row.id in answers:
            continue
        allowed = bounds.get(row.terms.type, ()) if row.terms.owner is not None else ()
        yield from room.look(d, row.terms.owner or "", allowed)
        refused = room.take(row.terms.owner or "", allowed)
        if refused is None:
            good.append(row)
        else:
            answers[row.id] = (yield from _held(d, row)) or refused
    if good:
        stored = yield from insert_many(d, good, notify=notify)
        answers |= {row.id: job for row, job in zip(good, stored, strict=True)}
    return [answers[row.id] for row in rows]
