"""Limits: how they are declared, what they come to, and which jobs they let start.

Who declares limits and enqueues needs none of `admit`, so it is not imported here.
"""

from jobq._limits.bucket import TokenBucket
from jobq._limits.declared import Concurrency, DailyQuota, KeyPool, Limit, RateLimit
from jobq._limits.lanes import Lane, Wanted

__all__ = [
    "Concurrency",
    "DailyQuota",
    "KeyPool",
    "Lane",
    "Limit",
    "RateLimit",
    "TokenBucket",
    "Wanted",
]
