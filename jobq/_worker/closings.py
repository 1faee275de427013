"""Which limits a provider's refusal closes, and for how long."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable

from attrs import evolve

from jobq._classify.failure import Failure, FailureKind
from jobq._classify.sent import without_key
from jobq._clock import SECOND
from jobq._limits import Lane
from jobq._limits.declared import DailyQuota, KeyPool, Limit, RateLimit, bench_key
from jobq._limits.lanes import Ref
from jobq._limits.templates import fields_of
from jobq._outcome import Closing, Raised, refusal_rest
from jobq._signals import RateLimited
from jobq._worker.running import Running
from jobq.observe import logger

LEAST = SECOND
MOST = 86_400 * SECOND
USED_UP = 60.0
"""How long a limit is closed of which nothing remains, where it is not said, in seconds."""
UNTIL_RESUMED = 3600 * SECOND
"""How long a key without quota is benched, unless an operator resumes it."""
YOUNG_DAY = 600 * SECOND
"""So soon after midnight a refusal per day is taken for the provider's late clock."""


def with_closings(raised: Raised, running: Running, limits: Iterable[Limit]) -> Raised:
    """Add the limits that an exception closes. None is ever closed by a guess at a tenant's."""
    failure, error = raised.failure, raised.exception
    declared = {limit.key: limit for limit in limits}
    lane = running.lane
    closing: Closing | None = None
    if lane is None:
        return raised
    if isinstance(error, RateLimited):
        ref = _named(lane, error.limit) if error.limit else _first_rate(lane, declared)
        if ref is None and error.limit:
            id = running.job.id
            logger.warning("RateLimited(limit=%r): job %s has no such limit", error.limit, id)
        closing = _by_handler(error, running, _row(ref, running, declared))
    elif failure is not None and _closes(failure):
        if failure.credentials and without_key(error, running.keys.values()):
            return raised  # no key of ours was refused
        ref = _for_failure(lane, declared, failure)
        key = _row(ref, running, declared, benches=_benches(failure))
        closing = _by_provider(failure, running, key, declared.get(ref.template) if ref else None)
    elif failure is not None and failure.remaining_zero:
        rest = max(LEAST, round((failure.retry_after or USED_UP) * SECOND))
        used_up = [Closing(key, "nothing remains", delay=rest) for key in running.heeded]
        return evolve(raised, closes=tuple(used_up))
    return raised if closing is None else evolve(raised, closes=(closing,))


def _by_handler(error: RateLimited, running: Running, key: str | None) -> Closing | None:
    if key is None:
        return None
    reason = (error.reason or "rate_limited")[:200]
    if error.run_at is None:
        return Closing(key, reason, delay=_rest(running, error.delay))
    now = _now(running)
    until = min(max(error.run_at, now + LEAST), now + MOST)
    return Closing(key, reason, delay=until - now, until=until)


def _by_provider(
    failure: Failure, running: Running, key: str | None, limit: Limit | None
) -> Closing | None:
    if key is None:
        return None
    reason = (failure.code or failure.kind.value)[:200]
    asked = None if failure.retry_after is None else round(failure.retry_after * SECOND)
    single = limit.limit if isinstance(limit, KeyPool) else limit
    if _benches(failure):
        return Closing(key, reason, delay=max(UNTIL_RESUMED, asked or 0))
    if failure.per_day and isinstance(single, DailyQuota):
        now = _now(running)
        until = _next_day(single, now)
        return Closing(key, reason, delay=until - now, until=until)
    return Closing(key, reason, delay=_rest(running, asked))


def _now(running: Running) -> int:
    """The database's clock, as far as it is known here."""
    return running.job.started_at + round((time.monotonic() - running.started_at) * SECOND)


def _closes(failure: Failure) -> bool:
    kinds = (FailureKind.RATE_LIMITED, FailureKind.QUOTA_EXHAUSTED)
    return failure.kind in kinds or failure.credentials


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
    ref: Ref | None, running: Running, declared: dict[str, Limit], *, benches: bool = False
) -> str | None:
    """The key of the row to close: for a pool, that of the key which was used."""
    if ref is None or ref.pool is None:
        return None if ref is None else ref.key
    name = running.chosen.get(ref.pool)
    pool = declared.get(ref.key)
    if name is None or not isinstance(pool, KeyPool):
        return None
    return bench_key(ref.pool, name) if benches else dict(pool.options).get(name)


def _next_day(limit: DailyQuota, now: int) -> int:
    if now - limit.begins(now) < YOUNG_DAY:
        return now + 60 * SECOND
    return limit.ends(now) + limit.REST


def _rest(running: Running, asked: int | None) -> int:
    """For how long, in microseconds: never so short that it would be asked in a loop."""
    if asked is None:
        return refusal_rest(running.job.rate_limited_count, random.random())
    return min(max(asked, LEAST), MOST)
