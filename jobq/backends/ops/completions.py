"""Complete jobs: what most attempts end with, and what has little of its own to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Executable, Text, and_, func, insert, null, select, update

from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, param, word
from jobq.backends._statement import Op, settled, statement
from jobq.backends.ops._ending import Ending
from jobq.backends.ops._moves import held, prune_time
from jobq.backends.ops.artifacts import store_artifacts

j = t.job.c


def _completions(d: Dialect) -> Any:
    """Completions, which are most and have little of their own: a third of the general work."""
    end = d.rows("rows", id=Text, fence=BigInteger, result=Text, message=Text)
    values = {
        "status": word("completed"),
        "progress": number(100),
        "message": func.coalesce(end.c.message, j.message),
        "partial": null(),
        "result": d.json(end.c.result),
        "error": null(),
        "error_code": null(),
        "worker": null(),
        "lease_until": null(),
        "limited_since": null(),
        "ambiguous": d.flag(number(0)),
        "version": j.version + number(1),
        "updated_at": d.now(),
        "completed_at": d.now(),
        "prune_at": prune_time(d),
    }
    return update(t.job).where(held(d, end)).values(values)


def _recorded(d: Dialect, job: Any) -> Any:
    """The history of completed attempts, from what the jobs' own rows say."""
    history = {
        "job_id": job.id,
        "fence": job.fence,
        "number": job.attempts,
        "outcome": word("completed"),
        "worker": param("worker"),
        "started_at": job.started_at,
        "ended_at": d.now(),
    }
    return list(history), select(*history.values())


def completions_with_history(d: Dialect) -> tuple[Any, Any]:
    """The ids of what was completed, and the history to add to a statement that selects them."""
    done = _completions(d).returning(j.id, j.fence, j.attempts, j.started_at).cte("done")
    record = d.insert(t.attempt).from_select(*_recorded(d, done.c))
    return d.wire(done.c.id), record.on_conflict_do_nothing().cte("record")


@settled
def _complete_all(d: Dialect, returns: bool) -> Executable:
    """Both tables in one statement, where the database can."""
    if not d.writes_in_ctes:
        completions = _completions(d)
        return completions.returning(j.id) if returns else completions  # type: ignore[no-any-return]
    id, record = completions_with_history(d)
    return select(id).add_cte(record)


@statement
def _record_completed(d: Dialect) -> Executable:
    done = d.rows("rows", id=Text)
    columns, jobs = _recorded(d, j)
    # On a connection in autocommit mode somebody may have moved the job since.
    still = and_(j.id.in_(select(done.c.id)), d.check(j.status) == word("completed"))
    return insert(t.attempt).from_select(columns, jobs.where(still))


@statement
def _changes(d: Dialect) -> Executable:  # noqa: ARG001
    """How many rows the statement before has written."""
    return select(func.changes())


@statement
def _completed_rows(d: Dialect) -> Executable:
    end = d.rows("rows", id=Text, fence=BigInteger)
    same = and_(j.id == d.id(end.c.id), j.fence == end.c.fence)
    found = select(j.id).select_from(end.join(t.job, same))
    return found.where(d.check(j.status) == word("completed"))


def compile_completions(d: Dialect) -> None:
    """Have the statements at hand with which jobs complete."""
    _complete_all.compile(d, d.writes_in_ctes)
    if not d.writes_in_ctes:
        _changes.compile(d)
        _record_completed.compile(d)


def finish_completions(
    d: Dialect, endings: Sequence[Ending], *, keep: int | None
) -> Op[dict[str, str]]:
    """What `finish` answers, of endings that complete their jobs."""
    rows = dumps(completion_rows(endings))
    worker = endings[0].worker
    if d.writes_in_ctes:
        done = yield _complete_all(d, True, rows=rows, keep=keep, worker=worker)
        return {id: "completed" for (id,) in done}
    # SQLite takes twice as long where it returns what it writes, and nearly always it is all.
    yield _complete_all(d, False, rows=rows, keep=keep)
    [(count,)] = yield _changes(d)
    ids = [ending.id for ending in endings]
    if count < len(ids):
        ids = [id for (id,) in (yield _completed_rows(d, rows=rows))] if count else []
    if ids:
        yield _record_completed(d, rows=dumps([{"id": id} for id in ids]), worker=worker)
    return dict.fromkeys(ids, "completed")


def completion_rows(endings: Sequence[Ending]) -> list[dict[str, Any]]:
    """What is written of jobs that complete."""
    return [
        {
            "id": ending.id,
            "fence": ending.fence,
            "result": ending.transition.result,
            "message": ending.message,
        }
        for ending in endings
    ]


def complete(
    d: Dialect,
    *,
    id: str,
    fence: int,
    result: str,
    keep: int | None,
    message: str | None = None,
    worker: str | None = None,
    artifacts: Sequence[str] = (),
) -> Op[bool]:
    """Complete one job on the handler's own connection; whether its claim was still valid."""
    row = {"id": id, "fence": fence, "result": result, "message": message}
    done = yield _complete_all(d, True, rows=dumps([row]), keep=keep, worker=worker)
    if done and not d.writes_in_ctes:
        yield _record_completed(d, rows=dumps([{"id": id}]), worker=worker)
    if done and artifacts:
        yield from store_artifacts(d, artifacts)
    return bool(done)
