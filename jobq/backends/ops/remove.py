"""Delete jobs together with their history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
    """The attempts, and the steps where one statement can."""
    history = delete(t.attempt).where(_is_gone(d, t.attempt.c.job_id))
    return history.add_cte(_steps(d).cte("steps")) if d.writes_in_ctes else history


@statement
def _delete_steps(d: Dialect) -> Executable:
    return _steps(d)  # type: ignore[no-any-return]


def _steps(d: Dialect) -> Any:
    return delete(t.step).where(_is_gone(d, t.step.c.job_id))


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
