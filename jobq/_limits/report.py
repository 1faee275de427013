"""A limit's row as people want to see it."""

from __future__ import annotations

from jobq._clock import to_datetime
from jobq._limits.admit import NEVER, State
from jobq._limits.declared import Concurrency, DailyQuota, RateLimit
from jobq._model import LimitInfo, instant


def describe(
    state: State,
    now: int,
    *,
    reason: str | None,
    overridden: bool,
    waiting: int,
    started: int,
    refused: int,
) -> LimitInfo:
    """What a limit allows now."""
    limit = state.limit
    free: int | None = None
    used: int | None = None
    match limit:
        case RateLimit():
            used = limit.bucket.used(state.tat, now)
            free = max(0, limit.max_cost - used)
        case DailyQuota():
            used = state.used if state.day == limit.day(now) else 0
            free = max(0, limit.n - used)
        case Concurrency():
            used = state.running
            free = max(0, limit.n - used)
    opening = state.opening(now, 1)
    blocked = state.blocked_until if (state.blocked_until or 0) > now else None
    closed = state.paused or blocked is not None
    return LimitInfo(
        key=state.key,
        kind="key" if limit is None else limit.kind,
        description="" if limit is None else limit.describe(),
        n=None if limit is None else limit.n,
        used=used,
        free=free,
        blocked_until=instant(blocked),
        paused=state.paused,
        reason=reason if closed else None,
        overridden=overridden,
        waiting=waiting,
        next_start=None if opening >= NEVER else to_datetime(opening),
        started=started,
        refused=refused,
        limit=limit,
    )
