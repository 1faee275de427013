"""End attempts: every write carries its claim's fence, and a late one is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Executable,
    Text,
    and_,
    case,
    cast,
    func,
    insert,
    null,
    or_,
    select,
    update,
)

from jobq._model import FINISHED
from jobq._outcome import POLLED
from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, is_one_of, number, word
from jobq.backends._statement import Op, atomic, knows_again, replanned, statement
from jobq.backends.ops._ending import KINDS, Ending
from jobq.backends.ops._moves import held, prune_time
from jobq.backends.ops.artifacts import store_artifacts
from jobq.backends.ops.completions import finish_completions
from jobq.backends.ops.remove import remove, remove_held
from jobq.backends.ops.steps import waits_for_cancellable, wake_resumed

j = t.job.c


def refusal(d: Dialect, error: Expression, error_code: Expression) -> dict[str, Any]:
    """The columns of a job that fails without having started."""
    return {
        "status": word("failed"),
        "ready": d.flag(number(0)),
        "error": error,
        "error_code": error_code,
        "version": j.version + number(1),
        "updated_at": d.now(),
        "completed_at": d.now(),
        "prune_at": prune_time(d),
    }


def _values(d: Dialect, end: Any) -> dict[str, Any]:
    """The columns of a job after its attempt; a requeue honours a cancellation asked meanwhile."""
    finished = is_one_of(end.c.status, FINISHED)
    asked = and_(~finished, d.is_set(j.cancel_requested))
    # What it waits for is to be cancelled first, which only its handler can do.
    cancelled = and_(asked, end.c.cancels == number(0), ~waits_for_cancellable(d))
    stops = or_(finished, cancelled)
    later = func.coalesce(d.instant(end.c.run_at), d.later(d.now(), end.c.delay))
    next_run = case((asked, d.now()), else_=later)
    return {
        "status": case(
            (cancelled, word("cancelled")),
            (_goes_on(end), word("waiting")),
            else_=end.c.status,
        ),
        "ready": d.truth(and_(~stops, next_run <= d.now())),
        "run_at": case((stops, j.run_at), else_=next_run),
        "lease_until": null(),
        "worker": null(),
        "attempts": j.attempts - end.c.given_back,
        "released_count": j.released_count + end.c.released,
        "overrun_count": j.overrun_count + end.c.overran,
        "snoozed_count": j.snoozed_count + end.c.snoozed,
        "crash_count": j.crash_count + end.c.crashed,
        "rate_limited_count": j.rate_limited_count + end.c.rate_limited,
        "limited_since": case(
            (end.c.rate_limited == number(1), func.coalesce(j.limited_since, d.now())),
            (end.c.released == number(1), j.limited_since),
            else_=None,
        ),
        "ambiguous": d.truth(end.c.ambiguous == number(1)),
        "progress": case(
            (end.c.status == word("completed"), number(100)),
            (end.c.progress > j.progress, end.c.progress),
            else_=j.progress,
        ),
        "message": func.coalesce(end.c.message, j.message),
        "partial": case(
            (end.c.status != word("completed"), func.coalesce(d.json(end.c.partial), j.partial)),
            else_=None,
        ),
        "result": d.json(end.c.result),
        "error": end.c.error,
        "error_code": case((cancelled, word("cancelled")), else_=end.c.error_code),
        "version": j.version + number(1),
        "updated_at": d.now(),
        "completed_at": case((stops, d.now()), else_=None),
        "prune_at": case((stops, prune_time(d)), else_=None),
        **_resting(d, end),
    }


def _resting(d: Dialect, end: Any) -> dict[str, Any]:
    """What the next claim of a job needs of its limits: less where that is no start."""
    waits = end.c.status == word("waiting")
    parks = and_(waits, end.c.lane.is_not(None))
    counted = ~or_(waits, _goes_on(end))
    keys = func.coalesce(end.c.start_keys, cast(j.start_keys, Text))
    return {
        "lane": case(
            (parks, end.c.lane), (counted, func.coalesce(j.start_lane, j.lane)), else_=j.lane
        ),
        "start_lane": case(
            (parks, func.coalesce(j.start_lane, j.lane)), (counted, None), else_=j.start_lane
        ),
        "start_keys": d.json(case((counted, None), else_=keys)),
        "expires_at": case((waits, None), else_=j.expires_at),
    }


def _goes_on(end: Any) -> Any:
    """A job with limits was given back that had returned from waiting: that is no new start."""
    released = and_(end.c.released == number(1), end.c.given_back == number(1))
    return and_(end.c.status == word("pending"), released, j.start_lane.is_not(None))


def _history(d: Dialect, end: Any) -> dict[str, Any]:
    return {
        "job_id": d.id(end.c.id),
        "fence": end.c.fence,
        "number": end.c.number,
        "outcome": end.c.outcome,
        "worker": end.c.worker,
        "error": end.c.error,
        "error_code": end.c.error_code,
        "traceback": end.c.traceback,
        "started_at": d.instant(end.c.started_at),
        "ended_at": d.now(),
    }


def is_told(end: Any) -> Any:
    """Whether an ending belongs in the history: looking in vain at what is waited for does not."""
    return end.c.outcome != word(POLLED)


@replanned
def _end_all(d: Dialect) -> Executable:
    """Both tables in one statement, where the database can."""
    end = d.rows("rows", **KINDS)
    ended = update(t.job).where(held(d, end)).values(_values(d, end))
    if not d.writes_in_ctes:
        return ended.returning(j.id, j.status)
    done = ended.returning(j.id, j.fence, j.status).cte("done")
    history = _history(d, end)
    same = and_(d.id(end.c.id) == done.c.id, end.c.fence == done.c.fence, is_told(end))
    record = d.insert(t.attempt).from_select(
        list(history), select(*history.values()).select_from(done.join(end, same))
    )
    record = record.on_conflict_do_nothing().cte("record")
    return select(d.wire(done.c.id), done.c.status).add_cte(record)


@statement
def _record_ended(d: Dialect) -> Executable:
    history = _history(d, d.rows("rows", **KINDS))
    return insert(t.attempt).from_select(list(history), select(*history.values()))


@replanned
def _ended_before(d: Dialect) -> Executable:
    """The endings that are in the history already."""
    end = d.rows("rows", **KINDS)
    a = t.attempt.c
    same = and_(a.job_id == d.id(end.c.id), a.fence == end.c.fence, a.outcome == end.c.outcome)
    return select(end.c.id, end.c.status).select_from(end.join(t.attempt, same))


def ended_before(d: Dialect, endings: Sequence[Ending]) -> Op[dict[str, str]]:
    """`{job id: status}` of the endings that are stored already."""
    return dict((yield _ended_before(d, rows=dumps([ending.row() for ending in endings]))))


@knows_again
def finish(
    d: Dialect, endings: Sequence[Ending], *, keep: int | None, again: bool = False
) -> Op[dict[str, str]]:
    """End attempts of one worker: `{job id: status}` of those ended.

    Jobs that complete and are not kept are deleted. An ending whose claim is no longer valid is
    left out. `keep` is how long finished jobs stay by default, in microseconds; `None` is for
    ever. `again` says that the same endings were sent before on a connection that was lost: those
    already stored count as ended.
    """
    done = (yield from ended_before(d, endings)) if again else {}
    left = [ending for ending in endings if ending.id not in done]
    forgotten = [ending for ending in left if ending.forgets]
    ended = [ending for ending in left if not ending.forgets]
    completions = [ending for ending in ended if ending.transition.status == "completed"]
    others = [ending for ending in ended if ending.transition.status != "completed"]
    if forgotten:
        done |= yield from remove_held(d, [(ending.id, ending.fence) for ending in forgotten])
    if completions:
        done |= yield from finish_completions(d, completions, keep=keep)
    if others:
        done |= yield from _finish_others(d, others, keep=keep)
    return done


def _finish_others(
    d: Dialect, endings: Sequence[Ending], *, keep: int | None
) -> Op[dict[str, str]]:
    rows = [ending.row() for ending in endings]
    done: dict[str, str] = dict((yield _end_all(d, rows=dumps(rows), keep=keep)))
    if done and not d.writes_in_ctes:
        told = [row for row in rows if row["id"] in done and row["outcome"] != POLLED]
        yield _record_ended(d, rows=dumps(told))
    return done


@knows_again
@atomic
def finish_with_more(
    d: Dialect, endings: Sequence[Ending], *, keep: int | None, again: bool = False
) -> Op[dict[str, str]]:
    """`finish`, where endings have more to them.

    Their jobs were completed by their handlers, saved artifacts, or begin to wait.
    """
    committed = [ending for ending in endings if ending.committed]
    done = yield from finish(d, [e for e in endings if not e.committed], keep=keep, again=again)
    if committed:
        done |= yield from ended_before(d, committed)
    waits = [(e.id, name) for e in endings if e.id in done for name in e.transition.waits]
    if waits:
        yield from wake_resumed(d, waits)
    saved = [id for e in endings if done.get(e.id) in FINISHED for id in e.artifacts]
    if saved:
        yield from store_artifacts(d, saved)
    kept = [e for e in endings if not e.forgets]
    gone = [e.id for e in kept if e.deletes and done.get(e.id) == "completed"]
    if gone:
        yield from remove(d, gone)
    return done
