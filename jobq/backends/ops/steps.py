"""What a job's handler has done already, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from attrs import frozen
from sqlalchemy import (
    BigInteger,
    Executable,
    Integer,
    Text,
    and_,
    case,
    delete,
    func,
    null,
    select,
    update,
)

from jobq._model import LIVE
from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, is_one_of, number, param, word
from jobq.backends._statement import Op, atomic, reading, statement
from jobq.backends.ops._moves import may
from jobq.backends.ops.artifacts import store_artifacts

j = t.job.c
s = t.step.c


class StepRow(NamedTuple):
    """A step, or something that a job waits for. Instants in microseconds, JSON as text."""

    name: str
    status: str
    version: int = 1
    args_hash: str | None = None
    result: str | None = None
    token: str | None = None
    cancels: int = 0
    deadline: int | None = None


STEP = (s.name, s.status, s.version, s.args_hash, s.result, s.token, s.cancels, s.deadline)


@statement
def _steps_of(d: Dialect) -> Executable:
    return select(*d.wires(STEP)).where(s.job_id == d.id(param("id")))


@reading
def read_steps(d: Dialect, id: str) -> Op[list[StepRow]]:
    """All that is recorded of one job."""
    return [StepRow(*row) for row in (yield _steps_of(d, id=id))]


@statement
def _write(d: Dialect) -> Executable:
    """One statement, which does nothing for a claim that is no longer valid."""
    status = param("status")
    ended = is_one_of(status, ("done", "failed", "expired"))
    values: dict[str, Any] = {
        "job_id": j.id,
        "name": param("name"),
        "status": status,
        "version": param("version", Integer),
        "args_hash": param("args_hash"),
        "result": d.json(param("result")),
        "error": param("error"),
        "fence": j.fence,
        "token": param("token"),
        "cancels": d.flag(param("cancels", Integer)),
        "deadline": d.later(d.now(), param("timeout", BigInteger)),
        "started_at": d.now(),
        "finished_at": case((ended, d.now()), else_=None),
    }
    mine = and_(j.id == d.id(param("id")), j.fence == param("fence", BigInteger), may(d, "finish"))
    # Shared, so that a handler's open transaction that has written a step is not in its own way.
    held = d.share(select(*values.values()).where(mine), t.job)
    insert: Any = d.insert(t.step).from_select(list(values), held)
    new = insert.excluded
    kept = {name: new[name] for name in values if name not in ("job_id", "name")}
    kept |= {
        "token": func.coalesce(new.token, s.token),
        "deadline": func.coalesce(new.deadline, s.deadline),
        "started_at": case((new.status == word("started"), new.started_at), else_=s.started_at),
    }
    conflict = insert.on_conflict_do_update(index_elements=["job_id", "name"], set_=kept)
    return conflict.returning(d.wire(s.deadline))  # type: ignore[no-any-return]


def write_step(
    d: Dialect,
    *,
    id: str,
    fence: int,
    row: StepRow,
    error: str | None = None,
    timeout: int | None = None,
) -> Op[StepRow | None]:
    """Record a step of a running job; `None` where its claim is no longer valid.

    With `timeout` (microseconds) its deadline is so far from now; otherwise it stays.
    """
    given = row._asdict()
    del given["deadline"]
    written = yield _write(d, id=id, fence=fence, **given, error=error, timeout=timeout)
    return row._replace(deadline=written[0][0]) if written else None


@atomic
def write_step_and_artifacts(
    d: Dialect, *, artifacts: Sequence[str], **given: Any
) -> Op[StepRow | None]:
    """`write_step`, together with what was uploaded in the step, by the ids of the artifacts."""
    written = yield from write_step(d, **given)
    if written is not None:
        yield from store_artifacts(d, artifacts)
    return written


# --- events -------------------------------------------------------------------------------------


@frozen
class Delivery:
    """What became of an event."""

    job_id: str
    queue: str
    resumed: bool
    """False where the job had it already."""


@statement
def _awaiting(d: Dialect) -> Executable:
    """Who waits for it. The job's row is locked first, as by all that move jobs."""
    found = select(*d.wires([j.id, j.queue, s.name, s.status, s.event_id]))
    found = found.select_from(t.step.join(t.job, j.id == s.job_id))
    still = and_(s.deadline > d.now(), is_one_of(d.check(j.status), LIVE))
    return d.lock(found.where(s.token == param("token"), still).order_by(j.id), t.job)


@statement
def _resume(d: Dialect) -> Executable:
    values = {
        "status": word("resumed"),
        "result": d.json(param("payload")),
        "event_id": param("event_id"),
    }
    this = and_(s.job_id == d.id(param("id")), s.name == param("name"), s.status == word("waiting"))
    return update(t.step).where(this).values(values).returning(s.name)


@statement
def _wake(d: Dialect) -> Executable:
    this = and_(j.id == d.id(param("id")), d.check(j.status) == word("waiting"))
    return update(t.job).where(this).values(_due(d)).returning(j.queue)


def _due(d: Dialect) -> dict[str, Expression]:
    return {"run_at": d.now(), "ready": d.flag(number(1)), "updated_at": d.now()}


@atomic
def deliver_event(
    d: Dialect, *, token: str, payload: str, event_id: str | None = None
) -> Op[Delivery | None]:
    """Give an event to whoever waits for it; `None` where nobody does, or not any more."""
    rows = yield _awaiting(d, token=token)
    found: Delivery | None = None
    for id, queue, name, status, seen in rows:
        is_new = status == "waiting" and (event_id is None or seen != event_id)
        if is_new:
            yield _resume(d, id=id, name=name, payload=payload, event_id=event_id)
            yield _wake(d, id=id)
        if found is None or is_new:
            found = Delivery(id, queue, resumed=is_new)
    return found


@statement
def _wake_resumed(d: Dialect) -> Executable:
    waits = d.rows("rows", id=Text, name=Text)
    same = and_(s.job_id == d.id(waits.c.id), s.name == waits.c.name)
    resumed = select(s.job_id).select_from(waits.join(t.step, same))
    resumed = resumed.where(s.status == word("resumed"))
    these = and_(j.id.in_(resumed), d.check(j.status) == word("waiting"))
    return update(t.job).where(these).values(_due(d)).returning(j.queue)


def wake_resumed(d: Dialect, waits: list[tuple[str, str]]) -> Op[None]:
    """Make jobs due again that began to wait for what had come just before."""
    yield _wake_resumed(d, rows=dumps([{"id": id, "name": name} for id, name in waits]))


# --- when jobs are moved ------------------------------------------------------------------------


def waits_for_cancellable(d: Dialect) -> Expression:
    """There is work outside that a job has not yet seen the end of, and its handler can cancel."""
    waits = select(s.name).where(
        s.job_id == j.id, is_one_of(s.status, ("waiting", "resumed")), d.is_set(s.cancels)
    )
    return waits.exists()


def can_cancel(d: Dialect) -> Expression:
    """A job waits for work that its handler can cancel."""
    return and_(j.status == word("waiting"), waits_for_cancellable(d))


def start_again(d: Dialect) -> dict[str, Any]:  # noqa: ARG001  as the others that give columns
    """The columns of a job whose next claim is a start, which needs all of its limits."""
    return {
        "lane": func.coalesce(j.start_lane, j.lane),
        "start_lane": null(),
        "start_keys": null(),
    }


@statement
def _forget_expired(d: Dialect) -> Executable:
    jobs = select(d.id(d.rows("rows", id=Text).c.id))
    return delete(t.step).where(s.job_id.in_(jobs), s.status == word("expired"))


def forget_expired(d: Dialect, ids: str) -> Op[None]:
    """Let jobs that are run again wait anew for what did not come in time."""
    yield _forget_expired(d, rows=ids)
