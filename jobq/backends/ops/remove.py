"""Delete jobs together with their history."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Executable, Text, delete, func, select

from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression
from jobq.backends._statement import Op, statement


def _is_gone(d: Dialect, column: Expression) -> Expression:
    ids = select(d.id(d.rows("rows", id=Text).c.id))
    if not d.locks_rows:
        return column.in_(ids)
    # As an array: PostgreSQL would take the ids for so many that it walks the table instead.
    return column == func.any(func.array(ids.scalar_subquery()))


@statement
def _delete_history(d: Dialect) -> Executable:
    return delete(t.attempt).where(_is_gone(d, t.attempt.c.job_id))


@statement
def _delete(d: Dialect) -> Executable:
    return delete(t.job).where(_is_gone(d, t.job.c.id))


def remove(d: Dialect, ids: Iterable[str]) -> Op[None]:
    """Delete these jobs, within the transaction of the op that chose and locked them."""
    rows = dumps([{"id": id} for id in ids])
    yield _delete_history(d, rows=rows)
    yield _delete(d, rows=rows)
