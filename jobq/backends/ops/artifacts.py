"""Artifacts: a row before the upload, `stored` along with what saved them, and swept by rows.

A sweep and a job may be at the same key at once, since the same bytes have the same key. Each
writes first what it is about to do, commits, and looks then for the other: a job that finds a
sweep at its key takes another key, a sweep that finds another row leaves the object to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen
from sqlalchemy import (
    BigInteger,
    Executable,
    Text,
    and_,
    case,
    delete,
    or_,
    select,
    update,
)

from jobq._clock import SECOND
from jobq._model import FINISHED, instant
from jobq._payload import dumps
from jobq.artifacts import Artifact
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, is_one_of, number, param, word
from jobq.backends._statement import Op, Row, atomic, reading, statement
from jobq.backends.ops._moves import held

a = t.artifact.c
j = t.job.c
BATCH = 500
SWEEP_TAKES = 3600 * SECOND
"""After so long, in microseconds, a sweep that was about to delete an object does so no more."""
NEW = {
    "id": Text,
    "fence": BigInteger,
    "artifact": Text,
    "step": Text,
    "slot": Text,
    "name": Text,
    "key": Text,
    "sha256": Text,
    "bytes": BigInteger,
    "content_type": Text,
}
SHOWN = (
    a.id,
    a.job_id,
    a.name,
    a.key,
    a.sha256,
    a.bytes,
    a.content_type,
    a.status,
    a.step,
    a.slot,
    a.created_at,
)


def to_artifact(row: Row) -> Artifact:
    """The artifact of a row of the columns `SHOWN`."""
    return Artifact(
        id=row[0],
        job_id=row[1],
        name=row[2],
        key=row[3],
        url=None,
        sha256=row[4],
        bytes=row[5],
        content_type=row[6],
        status=row[7],
        step=row[8],
        slot=row[9],
        created_at=instant(row[10]),
    )


# --- save ---------------------------------------------------------------------------------------


@statement
def _begin(d: Dialect) -> Executable:
    new = d.rows("rows", **NEW)
    columns = {
        "id": d.id(new.c.artifact),
        "job_id": d.id(new.c.id),
        **{name: new.c[name] for name in NEW if name not in ("id", "fence", "artifact")},
        "created_at": d.now(),
    }
    mine = select(*columns.values()).select_from(new.join(t.job, held(d, new)))
    new_row: Any = d.insert(t.artifact).from_select(list(columns), mine)
    # Sent again, where the answer was lost.
    same = new_row.on_conflict_do_update(index_elements=["id"], set_={"id": new_row.excluded.id})
    return same.returning(*d.wires([a.created_at]))  # type: ignore[no-any-return]


@statement
def _is_being_swept(d: Dialect) -> Executable:  # noqa: ARG001  every statement takes it
    return select(number(1)).where(a.key == param("key"), a.status == word("deleting"))


@statement
def _give_up(d: Dialect) -> Executable:
    here = a.id == d.id(param("id"))
    return update(t.artifact).where(here).values(status=word("replaced"))


def begin_artifact(
    d: Dialect, *, row: dict[str, Any], apart: dict[str, Any]
) -> Op[Artifact | None]:
    """Write down what is about to be uploaded; `None` where the claim is no longer valid.

    `row` has the columns `NEW`, `id` and `fence` being those of the claim. Where a sweep is at
    work at its key it becomes another row, with what `apart` says (`artifact` and `key`): the
    first one stays, so that a later sweep finds what is at that key. Not one transaction: what
    is written has to be there for others before they are looked for.
    """
    began = yield _begin(d, rows=dumps([row]))
    if began and (yield _is_being_swept(d, key=row["key"])):
        yield _give_up(d, id=row["artifact"])
        row = row | apart
        began = yield _begin(d, rows=dumps([row]))
    return _begun(row, began[0][0]) if began else None


def _begun(row: dict[str, Any], now: int) -> Artifact:
    named = {name: row[name] for name in NEW if name not in ("id", "fence", "artifact")}
    id, job_id = row["artifact"], row["id"]
    return Artifact(id=id, job_id=job_id, url=None, created_at=instant(now), **named)


def _among(d: Dialect, column: Expression) -> Expression:
    return column.in_(select(d.id(d.rows("rows", id=Text).c.id)))


@statement
def _replace(d: Dialect) -> Executable:
    old = t.artifact.alias("old")
    same = and_(
        old.c.job_id == a.job_id,
        old.c.step == a.step,
        old.c.slot == a.slot,
        old.c.status == word("stored"),
        old.c.id != a.id,
    )
    replaced = select(old.c.id).select_from(t.artifact.join(old, same)).where(_among(d, a.id))
    return update(t.artifact).where(a.id.in_(replaced)).values(status=word("replaced"))


@statement
def _store(d: Dialect) -> Executable:
    uploaded = and_(_among(d, a.id), a.status == word("uploading"))
    return update(t.artifact).where(uploaded).values(status=word("stored"), stored_at=d.now())


def store_artifacts(d: Dialect, ids: Iterable[str]) -> Op[None]:
    """Have uploaded artifacts stored, instead of what was stored in their places before.

    Within the transaction of the op that ends what saved them.
    """
    rows = dumps([{"id": id} for id in ids])
    yield _replace(d, rows=rows)
    yield _store(d, rows=rows)


# --- look ---------------------------------------------------------------------------------------


@statement
def _of_jobs(d: Dialect) -> Executable:
    return select(*d.wires(SHOWN)).where(_among(d, a.job_id)).order_by(a.id)


@reading
def artifacts_of(d: Dialect, job_ids: Sequence[str]) -> Op[list[Artifact]]:
    """The artifacts of these jobs, oldest first."""
    rows = yield _of_jobs(d, rows=dumps([{"id": id} for id in job_ids]))
    return [to_artifact(row) for row in rows]


# --- sweep --------------------------------------------------------------------------------------


@frozen
class Litter:
    """A row whose object nobody will ask for."""

    artifact: Artifact
    shared: bool
    """Whether another row names the same key."""


@statement
def _swept(d: Dialect) -> Executable:
    before = d.later(d.now(), number(0) - param("grace", BigInteger))
    is_over = or_(
        and_(j.id.is_(None), a.created_at < before),
        and_(is_one_of(j.status, FINISHED), j.completed_at < before),
    )
    other = t.artifact.alias("other")
    shared = select(other.c.id).where(other.c.key == a.key, other.c.id != a.id).exists()
    columns = (*d.wires(SHOWN), case((shared, number(1)), else_=number(0)))
    found = select(*columns).select_from(t.artifact.outerjoin(t.job, j.id == a.job_id))
    further = a.id > d.id(param("after"))
    swept = found.where(a.status != word("stored"), further, is_over)
    return swept.order_by(a.id).limit(number(BATCH))


@reading
def swept_artifacts(d: Dialect, *, after: str, grace: int) -> Op[list[Litter]]:
    """A batch of rows to sweep, from `after` on: nothing `stored`, and no job goes on with it.

    Their jobs have been finished for `grace` microseconds, or are gone and they are older.
    """
    rows = yield _swept(d, after=after, grace=grace)
    return [Litter(to_artifact(row[:-1]), bool(row[-1])) for row in rows]


@statement
def _at_its_key(d: Dialect) -> Executable:
    key = select(a.key).where(a.id == d.id(param("id"))).scalar_subquery()
    return d.lock(select(*d.wires([a.id])).where(a.key == key).order_by(a.id))


def _not_stored(d: Dialect) -> Expression:
    return and_(a.id == d.id(param("id")), a.status != word("stored"))


@statement
def _mark(d: Dialect) -> Executable:
    given_up = a.swept_at < d.later(d.now(), number(-SWEEP_TAKES))
    free = or_(a.status != word("deleting"), given_up)
    marked = update(t.artifact).where(_not_stored(d), free)
    return marked.values(status=word("deleting"), swept_at=d.now()).returning(*d.wires([a.id]))


@statement
def _forget(d: Dialect) -> Executable:
    return delete(t.artifact).where(_not_stored(d))


@atomic
def take_swept(d: Dialect, id: str) -> Op[bool]:
    """Claim the object of this row, to delete it. A row that is not the only one there goes."""
    if not (yield from _is_alone(d, id)):
        return False
    return bool((yield _mark(d, id=id)))


@atomic
def is_still_swept(d: Dialect, id: str) -> Op[bool]:
    """Whether an object that was claimed may be deleted: nobody has named it meanwhile."""
    return (yield from _is_alone(d, id))


def _is_alone(d: Dialect, id: str) -> Op[bool]:
    there = yield _at_its_key(d, id=id)
    if len(there) > 1:
        yield _forget(d, id=id)
    return len(there) == 1


def forget_artifact(d: Dialect, id: str) -> Op[None]:
    """Delete the row of a deleted object."""
    yield _forget(d, id=id)
