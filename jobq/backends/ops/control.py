"""Move jobs from outside: cancel, retry, reschedule, set by hand, delete; pause queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    SmallInteger,
    Text,
    and_,
    case,
    exists,
    func,
    insert,
    null,
    or_,
    select,
    update,
)

from jobq._model import FINISHED, LIVE, Job
from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, is_one_of, number, param, word
from jobq.backends._statement import Op, atomic, reading, statement
from jobq.backends.ops._moves import may, prune_time
from jobq.backends.ops._rows import JOB, to_job
from jobq.backends.ops.remove import remove
from jobq.backends.ops.steps import can_cancel, forget_expired, start_again

j = t.job.c


def _id_rows(ids: Sequence[str]) -> str:
    return dumps([{"id": id} for id in ids])


def _touched(d: Dialect) -> dict[str, Any]:
    return {"version": j.version + number(1), "updated_at": d.now()}


@statement
def _cancel(d: Dialect) -> Executable:
    wanted = d.rows("rows", id=Text)
    returns = can_cancel(d)
    running = or_(j.status == word("processing"), returns)
    values = {
        "status": case((running, j.status), else_=word("cancelled")),
        "ready": d.truth(returns),
        "run_at": case((returns, d.now()), else_=j.run_at),
        "cancel_requested": d.truth(running),
        "error_code": case((running, j.error_code), else_=word("cancelled")),
        "completed_at": case((running, j.completed_at), else_=d.now()),
        "prune_at": case((running, j.prune_at), else_=prune_time(d)),
        **_touched(d),
    }
    these = and_(j.id == d.id(wanted.c.id), may(d, "cancel"))
    return update(t.job).where(these).values(values).returning(*d.wires(JOB))


def cancel(d: Dialect, ids: Sequence[str], *, keep: int | None) -> Op[list[Job]]:
    """Cancel jobs that do not run, and ask running ones to stop; those that could be.

    One that waits for work which its handler can cancel is made due for that.
    """
    rows = yield _cancel(d, rows=_id_rows(ids), keep=keep)
    return [to_job(row) for row in rows]


@statement
def _disown(d: Dialect) -> Executable:
    """The history of running attempts that are about to be taken from their workers."""
    wanted = d.rows("rows", id=Text)
    running = and_(j.id == d.id(wanted.c.id), d.check(j.status) == word("processing"))
    values = {
        "job_id": j.id,
        "fence": j.fence,
        "number": j.attempts,
        "outcome": word("disowned"),
        "worker": j.worker,
        "started_at": j.started_at,
        "ended_at": d.now(),
    }
    attempts = select(*values.values()).select_from(wanted.join(t.job, running))
    if d.locks_rows:
        attempts = attempts.with_for_update(of=t.job)
    return insert(t.attempt).from_select(list(values), attempts)


@statement
def _retry(d: Dialect) -> Executable:
    wanted = d.rows("rows", id=Text)
    other = t.job.alias("other")
    holder = exists().where(
        other.c.type == j.type,
        other.c.unique_key == j.unique_key,
        is_one_of(other.c.status, LIVE),
        other.c.id != j.id,
    )
    values = {
        "status": word("pending"),
        "ready": j.declared,
        "run_at": d.now(),
        "fence": d.fence(),
        "worker": null(),
        "lease_until": null(),
        "cancel_requested": d.flag(number(0)),
        **start_again(d),
        "attempts": number(0),
        "crash_count": number(0),
        "overrun_count": number(0),
        "progress": number(0),
        "message": null(),
        "partial": null(),
        "result": null(),
        "error": null(),
        "error_code": null(),
        "completed_at": null(),
        "prune_at": null(),
        "webhook_sent": d.flag(number(0)),
        "expires_at": case((j.expires_at <= d.now(), None), else_=j.expires_at),
        **_touched(d),
    }
    these = and_(j.id == d.id(wanted.c.id), may(d, "retry"), or_(j.unique_key.is_(None), ~holder))
    return update(t.job).where(these).values(values).returning(*d.wires(JOB))


@atomic
def retry(d: Dialect, ids: Sequence[str]) -> Op[list[Job]]:
    """Run jobs again with all their attempts; a running attempt is disowned by a new fence.

    A job whose unique key a live job holds is left alone.
    """
    yield _disown(d, rows=_id_rows(ids))
    rows = yield _retry(d, rows=_id_rows(ids))
    if rows:
        yield from forget_expired(d, _id_rows([row[0] for row in rows]))
    return [to_job(row) for row in rows]


@statement
def _duplicate_holder(d: Dialect) -> Executable:
    other = t.job.alias("other")
    same = and_(
        other.c.type == j.type,
        other.c.unique_key == j.unique_key,
        is_one_of(other.c.status, LIVE),
        other.c.id != j.id,
    )
    holders = select(*d.wires([other.c.id])).select_from(t.job.join(other, same))
    return holders.where(j.id == d.id(param("id")))


@reading
def duplicate_holder(d: Dialect, id: str) -> Op[str | None]:
    """The live job that holds the unique key of this one."""
    rows = yield _duplicate_holder(d, id=id)
    return rows[0][0] if rows else None


@statement
def _reschedule(d: Dialect, anew: bool) -> Executable:
    moment = func.coalesce(
        d.instant(param("run_at", BigInteger)),
        d.later(d.now(), param("delay", BigInteger)),
        j.run_at,
    )
    values = {
        "status": word("pending"),
        "run_at": moment,
        "ready": d.truth(and_(d.is_set(j.declared), moment <= d.now())),
        "priority": func.coalesce(param("priority", SmallInteger), j.priority),
        "queue": func.coalesce(param("queue"), j.queue),
        **_touched(d),
    }
    if anew:
        no = d.flag(number(0))
        values |= {"declared": no, "ready": no, "given": word("queue,priority,moved")}
    this = and_(j.id == d.id(param("id")), may(d, "reschedule"))
    return update(t.job).where(this).values(values).returning(*d.wires(JOB))


def reschedule(
    d: Dialect,
    id: str,
    *,
    run_at: int | None = None,
    delay: int | None = None,
    priority: int | None = None,
    queue: str | None = None,
    anew: bool = False,
) -> Op[Job | None]:
    """Give a job that has not started another time, priority or queue.

    `anew` has a worker find its limits again, because they depend on the queue.
    """
    changes = {"run_at": run_at, "delay": delay, "priority": priority, "queue": queue}
    rows = yield _reschedule(d, anew, id=id, **changes)
    return to_job(rows[0]) if rows else None


@statement
def _set_status(d: Dialect) -> Executable:
    status = param("status")
    finished = is_one_of(status, FINISHED)
    values = {
        "status": status,
        "ready": d.truth(and_(~finished, d.is_set(j.declared))),
        "run_at": case((finished, j.run_at), else_=d.now()),
        "fence": d.fence(),
        "worker": null(),
        "lease_until": null(),
        "cancel_requested": d.flag(number(0)),
        **start_again(d),
        "progress": case((status == word("completed"), number(100)), else_=j.progress),
        "partial": case((status == word("completed"), None), else_=j.partial),
        "result": d.json(param("result")),
        "error": param("error"),
        "error_code": param("error_code"),
        "completed_at": case((finished, d.now()), else_=None),
        "prune_at": case((finished, prune_time(d)), else_=None),
        **_touched(d),
    }
    this = and_(j.id == d.id(param("id")), may(d, "set_status"))
    return update(t.job).where(this).values(values).returning(*d.wires(JOB))


@atomic
def set_status(
    d: Dialect,
    id: str,
    *,
    status: str,
    result: str | None,
    error: str | None,
    error_code: str | None,
    keep: int | None,
) -> Op[Job | None]:
    """Set a live job's status by hand; a running attempt is disowned by a new fence."""
    yield _disown(d, rows=_id_rows([id]))
    rows = yield _set_status(
        d, id=id, status=status, result=result, error=error, error_code=error_code, keep=keep
    )
    return to_job(rows[0]) if rows else None


@statement
def _set_progress(d: Dialect) -> Executable:
    values = {
        "progress": param("progress", Integer),
        "message": func.coalesce(param("message"), j.message),
        **_touched(d),
    }
    this = and_(j.id == d.id(param("id")), is_one_of(j.status, LIVE))
    return update(t.job).where(this).values(values).returning(*d.wires(JOB))


def set_progress(d: Dialect, id: str, *, progress: int, message: str | None) -> Op[Job | None]:
    """Set a live job's progress from outside its handler."""
    rows = yield _set_progress(d, id=id, progress=progress, message=message)
    return to_job(rows[0]) if rows else None


@statement
def _finished(d: Dialect) -> Executable:
    wanted = d.rows("rows", id=Text)
    these = and_(j.id == d.id(wanted.c.id), may(d, "delete"))
    found = select(*d.wires([j.id])).select_from(wanted.join(t.job, these))
    return d.skip_locked(found, t.job)


@atomic
def delete(d: Dialect, ids: Sequence[str]) -> Op[list[str]]:
    """Delete those of these jobs that are finished, with their history."""
    finished = [row[0] for row in (yield _finished(d, rows=_id_rows(ids)))]
    if finished:
        yield from remove(d, finished)
    return finished


@statement
def _pause(d: Dialect) -> Executable:
    insert = d.insert(t.queue).values(
        queue=param("queue"),
        paused=d.flag(param("paused", Integer)),
        paused_until=d.instant(param("until", BigInteger)),
        updated_at=d.now(),
    )
    new = insert.excluded
    return insert.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=["queue"],
        set_={name: new[name] for name in ("paused", "paused_until", "updated_at")},
    )


def pause(d: Dialect, queue: str, *, until: int | None) -> Op[None]:
    """Let no job of a queue start, until an instant or until it is resumed."""
    yield _pause(d, queue=queue, paused=1, until=until)


def resume(d: Dialect, queue: str) -> Op[None]:
    """Let the jobs of a queue start again."""
    yield _pause(d, queue=queue, paused=0, until=None)
