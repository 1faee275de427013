"""Limits: how they are declared, what they come to, and which jobs they let start."""

from jobq._limits.admit import Admission, Head, Permit, State, admit
from jobq._limits.bucket import TokenBucket
from jobq._limits.declared import Concurrency, DailyQuota, KeyPool, Limit, RateLimit
from jobq._limits.lanes import Lane, Wanted

__all__ = [
    "Admission",
    "Concurrency",
    "DailyQuota",
    "Head",
    "KeyPool",
    "Lane",
    "Limit",
    "Permit",
    "RateLimit",
    "State",
    "TokenBucket",
    "Wanted",
    "admit",
]
