"""Delete jobs together with their history."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Executable, Text, delete, select

from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect
from jobq.backends._statement import Op, statement


@statement
def _delete_history(d: Dialect) -> Executable:
    gone = d.rows("rows", id=Text)
    return delete(t.attempt).where(t.attempt.c.job_id.in_(select(d.id(gone.c.id))))


@statement
def _delete(d: Dialect) -> Executable:
    gone = d.rows("rows", id=Text)
    return delete(t.job).where(t.job.c.id.in_(select(d.id(gone.c.id))))


def remove(d: Dialect, ids: Iterable[str]) -> Op[None]:
    """Delete these jobs, within the transaction of the op that chose and locked them."""
    rows = dumps([{"id": id} for id in ids])
    yield _delete_history(d, rows=rows)
    yield _delete(d, rows=rows)
