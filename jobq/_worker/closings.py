"""Which limits a provider's refusal closes, and for how long."""

from __future__ import annotations

import random
from collections.abc import Iterable

from attrs import evolve

from jobq._classify import Failure, FailureKind
from jobq._clock import SECOND
from jobq._limits import Lane
from jobq._limits.admit import Permit
from jobq._limits.declared import DailyQuota, Limit, RateLimit, bench_key
from jobq._limits.lanes import Ref
from jobq._limits.templates import fields_of
from jobq._outcome import Closing, Raised, RateLimited, refusal_rest
from jobq._worker.running import Running

LEAST = SECOND
MOST = 86_400 * SECOND
UNTIL_RESUMED = 3600 * SECOND
"""How long a key without quota is benched, unless an operator resumes it."""
YOUNG_DAY = 600 * SECOND
"""So soon after midnight a refusal per day is taken for the provider's late clock."""


def with_closings(raised: Raised, running: Running, limits: Iterable[Limit]) -> Raised:
    """Add the limits that an exception closes. None is ever closed by a guess at a tenant's."""
    failure, error = raised.failure, raised.exception
    declared = {limit.key: limit for limit in limits}
    lane = Lane.parse(running.job.lane) if running.job.lane else None
    if lane is None:
        return raised
    if isinstance(error, RateLimited):
        ref = _named(lane, error.limit) if error.limit else _first_rate(lane, declared)
        seconds = error.delay
        until = error.run_at
        code = error.reason or "rate_limited"
        failure = None
    elif failure is not None and _closes(failure):
        ref = _for_failure(lane, declared, failure)
        seconds = None if failure.retry_after is None else round(failure.retry_after * SECOND)
        until = None
        code = failure.code or failure.kind.value
    else:
        return raised
    if ref is None:
        return raised
    rest = _rest(running, failure, declared.get(ref.template), seconds)
    permit = running.start.permit if running.start is not None else None
    key = _row(ref, permit, declared, benches=failure is not None and _benches(failure))
    if key is None:
        return raised
    closing = Closing(key, code[:200], delay=0 if until is not None else rest, until=until)
    return evolve(raised, closes=(closing,))


def _closes(failure: Failure) -> bool:
    kinds = (FailureKind.RATE_LIMITED, FailureKind.QUOTA_EXHAUSTED)
    return failure.kind in kinds or failure.credentials or failure.remaining_zero


def _benches(failure: Failure) -> bool:
    return failure.credentials or failure.kind is FailureKind.QUOTA_EXHAUSTED


def _named(lane: Lane, name: str) -> Ref | None:
    wanted = (name, f"@{name}")
    return next((ref for ref in lane.refs if ref.key in wanted or ref.template in wanted), None)


def _for_failure(lane: Lane, declared: dict[str, Limit], failure: Failure) -> Ref | None:
    pooled = next((ref for ref in lane.refs if ref.pool is not None), None)
    if _benches(failure):
        # Without a pool there is no other key: a refused one is the handler's error.
        return pooled or (None if failure.credentials else _first_rate(lane, declared))
    if failure.per_day:
        for ref in lane.refs:
            if isinstance(declared.get(ref.template), DailyQuota) and not fields_of(ref.template):
                return ref
    return pooled or _first_rate(lane, declared)


def _first_rate(lane: Lane, declared: dict[str, Limit]) -> Ref | None:
    """The first rate limit that the handler lists, of those that are everybody's."""
    refs = {ref.template: ref for ref in lane.refs}
    for key, limit in declared.items():
        ref = refs.get(key)
        if ref is None:
            continue
        if ref.pool is not None or (isinstance(limit, RateLimit) and not fields_of(key)):
            return ref
    return None


def _row(
    ref: Ref, permit: Permit | None, declared: dict[str, Limit], *, benches: bool
) -> str | None:
    """The key of the row to close: for a pool, that of the key which was used."""
    if ref.pool is None:
        return ref.key
    name = None if permit is None else permit.keys.get(ref.pool)
    pool = declared.get(ref.key)
    if name is None or pool is None or isinstance(pool, RateLimit):
        return None
    if benches:
        return bench_key(ref.pool, name)
    return dict(getattr(pool, "options", ())).get(name)


def _rest(running: Running, failure: Failure | None, limit: Limit | None, asked: int | None) -> int:
    """For how long, in microseconds: never so short that it would be asked in a loop."""
    if failure is not None and _benches(failure):
        return max(UNTIL_RESUMED, asked or 0)
    if isinstance(limit, DailyQuota) and failure is not None and failure.per_day:
        now = running.job.started_at
        if now - limit.begins(now) < YOUNG_DAY:
            return 60 * SECOND
        return limit.ends(now) + limit.REST - now
    if asked is None:
        return refusal_rest(running.job.rate_limited_count, random.random())
    return min(max(asked, LEAST), MOST)
