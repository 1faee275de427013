"""Conditions and values that several ops share: what may be moved, what is held, how long."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Executable, and_, case, func, select

from jobq._model import MOVES
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, is_one_of, number, param
from jobq.backends._statement import Op, reading, statement

j = t.job.c


def may(d: Dialect, verb: str) -> Expression:
    """A row's status allows the verb, as the table of moves says; for rows found by their id."""
    return is_one_of(d.check(j.status), MOVES[verb].sources)


def held(d: Dialect, claims: Any) -> Expression:
    """A row is in the hands of one of these claims, which have an `id` and a `fence`."""
    c = claims.c
    return and_(d.one_by_one(j.id, d.id(c.id)), j.fence == c.fence, may(d, "finish"))


def clock_value(d: Dialect) -> Expression:
    """The database's clock, as it is read."""
    now = d.now()
    now.type = j.run_at.type
    return d.wire(now)


@statement
def _clock(d: Dialect) -> Executable:
    return select(clock_value(d))


@reading
def clock(d: Dialect) -> Op[int]:
    """The database's clock in microseconds, or the frozen one."""
    [(now,)] = yield _clock(d)
    return int(now)


def lease_end(d: Dialect, started: Expression) -> Expression:
    """A full `lease` from now, but not past the job's deadline and a `margin`."""
    lease = d.later(d.now(), param("lease", BigInteger))
    allowed = j.timeout_ms * number(1000) + param("margin", BigInteger)
    deadline = d.later(started, allowed)
    return case((and_(j.timeout_ms > 0, deadline < lease), deadline), else_=lease)


def prune_time(d: Dialect) -> Expression:
    """When a job that finishes now is pruned; NULL where finished jobs are kept for ever."""
    # 0 deletes a job when it completes; one that failed stays for the usual time.
    own = func.nullif(j.keep_seconds, number(0)) * number(1_000_000)
    keep = func.coalesce(own, param("keep", BigInteger))
    return d.later(d.now(), keep)
