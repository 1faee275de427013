"""Delete jobs together with their history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import BigInteger, Executable, Text, delete, func, select, tuple_

from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression
from jobq.backends._statement import Op, settled, statement
from jobq.backends.ops._moves import held, may


def _is_gone(d: Dialect, column: Expression) -> Expression:
    ids = select(d.id(d.rows("rows", id=Text).c.id))
    if not d.locks_rows:
        return column.in_(ids)
    # As an array: PostgreSQL would take the ids for so many that it walks the table instead.
    return column == func.any(func.array(ids.scalar_subquery()))


@statement
def _delete_history(d: Dialect) -> Executable:
    """The attempts, and the steps where one statement can."""
    history = delete(t.attempt).where(_is_gone(d, t.attempt.c.job_id))
    return history.add_cte(_steps(d).cte("steps")) if d.writes_in_ctes else history


@statement
def _delete_steps(d: Dialect) -> Executable:
    return _steps(d)  # type: ignore[no-any-return]


def _steps(d: Dialect) -> Any:
    return delete(t.step).where(_is_gone(d, t.step.c.job_id))


@settled
def _delete_held(d: Dialect) -> Executable:
    """With what belongs to them, in one statement, where the database can."""
    end = d.rows("rows", id=Text, fence=BigInteger)
    job = t.job.c
    if not d.writes_in_ctes:
        same = tuple_(job.id, job.fence).in_(select(d.id(end.c.id), end.c.fence))
        # By their keys; SQLite would walk all jobs for the pairs.
        mine = (_is_gone(d, job.id), same, may(d, "finish"))
        return delete(t.job).where(*mine).returning(job.id)
    gone = delete(t.job).where(held(d, end)).returning(job.id).cte("gone")
    ids = func.any(func.array(select(gone.c.id).scalar_subquery()))
    attempts = delete(t.attempt).where(t.attempt.c.job_id == ids).cte("attempts")
    steps = delete(t.step).where(t.step.c.job_id == ids).cte("steps")
    return select(d.wire(gone.c.id)).add_cte(attempts, steps)


@statement
def _delete(d: Dialect) -> Executable:
    return delete(t.job).where(_is_gone(d, t.job.c.id))


def remove(d: Dialect, ids: Iterable[str]) -> Op[None]:
    """Delete these jobs, within the transaction of the op that chose and locked them."""
    rows = dumps([{"id": id} for id in ids])
    yield _delete_history(d, rows=rows)
    if not d.writes_in_ctes:
        yield _delete_steps(d, rows=rows)
    yield _delete(d, rows=rows)


def remove_held(d: Dialect, claims: Sequence[tuple[str, int]]) -> Op[dict[str, str]]:
    """Delete jobs that are in the hands of these claims (id, fence): what `finish` answers."""
    rows = dumps([{"id": id, "fence": fence} for id, fence in claims])
    gone = [id for (id,) in (yield _delete_held(d, rows=rows))]
    if gone and not d.writes_in_ctes:
        rows = dumps([{"id": id} for id in gone])
        yield _delete_history(d, rows=rows)
        yield _delete_steps(d, rows=rows)
    return dict.fromkeys(gone, "completed")
