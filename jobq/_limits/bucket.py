"""The arithmetic of a rate limit: a token bucket in one integer."""

from __future__ import annotations

import math
from typing import Self

from attrs import frozen

from jobq._clock import SECOND
from jobq._errors import ConfigurationError

LEAST_TOLERANCE = 20_000
MOST_TOLERANCE = SECOND
HEADROOM = 0.01


@frozen(kw_only=True)
class TokenBucket:
    """A token bucket as the Generic Cell Rate Algorithm has it (ITU-T I.371).

    All it remembers between two debits is one instant, the *theoretical arrival time* (`tat`):
    when the bucket will be full again. Everything is integer microseconds, so nothing drifts, and
    every function is pure: it can be used alone, in a process, with any clock.

    `units` per `period` is the sustained rate, `burst` how many units may go at once, and
    `tolerance` how late a start may be and still be covered by its permit.

    >>> bucket = TokenBucket.strict(60, per=60)
    >>> tat, starts = 0, []
    >>> for _ in range(3):
    ...     start = bucket.opening(tat, now=1_000_000)
    ...     tat = bucket.debit(tat, start)
    ...     starts.append(start)
    >>> starts
    [1000000, 2010102, 3020204]
    """

    units: int
    period: int
    burst: int = 1
    tolerance: int = MOST_TOLERANCE

    @classmethod
    def strict(cls, n: int, *, per: float, max_cost: int = 1, headroom: float = HEADROOM) -> Self:
        """A bucket under which no window of `per` seconds ever holds more than `n` units.

        A full burst may go just before a window that then refills, so the sustained rate is
        `(n - max_cost + 1) / per`, less the headroom. Permits are good for a tolerance of
        `headroom * per` (20 ms at least, 1 s at most); what that exceeds the headroom by is
        taken off the rate too.
        """
        if not (0 < per < math.inf and 0 <= headroom < 1):
            raise ConfigurationError(
                f"TokenBucket: per={per!r} must be seconds above 0, "
                f"and headroom={headroom!r} from 0 to below 1"
            )
        span = round(per * SECOND)
        spare = round(span * headroom)
        tolerance = min(max(spare, LEAST_TOLERANCE), MOST_TOLERANCE)
        period = max(math.ceil(span / (1 - headroom)), span + tolerance) + _slack(max_cost)
        return cls(units=n - max_cost + 1, period=period, burst=max_cost, tolerance=tolerance)

    @classmethod
    def raw(cls, n: int, *, per: float, burst: int = 1) -> Self:
        """A bucket of `burst` units that refills at `n` in `per` seconds: the textbook's."""
        return cls(units=n, period=round(per * SECOND), burst=burst)

    def __attrs_post_init__(self) -> None:
        if min(self.units, self.period, self.burst) < 1 or self.tolerance < 0:
            raise ConfigurationError(f"{self!r}: units, period and burst must be 1 or more")

    @property
    def rate(self) -> float:
        """Units per second, sustained."""
        return self.units * SECOND / self.period

    def increment(self, cost: int = 1) -> int:
        """How far a debit of so many units moves the arrival time, in microseconds."""
        return -(-cost * self.period // self.units)

    def opening(self, tat: int, now: int, cost: int = 1) -> int:
        """The earliest start, now or later, that the bucket allows for so many units."""
        if cost > self.burst:
            raise ValueError(f"a cost of {cost} never fits a bucket of {self.burst}")
        # The slack forgives the rounding of up to `burst` debits, so that a full burst fits.
        allowance = self.increment(self.burst) + _slack(self.burst)
        return max(now, tat + self.increment(cost) - allowance)

    def debit(self, tat: int, start: int, cost: int = 1) -> int:
        """The arrival time after a start. Idle time is not counted: a full bucket stays full."""
        return max(tat, start) + self.increment(cost)

    def free(self, tat: int, now: int) -> int:
        """How many units could go now."""
        ahead = max(0, tat - now)
        allowance = self.increment(self.burst) + _slack(self.burst)
        return max(0, min(self.burst, (allowance - ahead) * self.units // self.period))

    def used(self, tat: int, now: int) -> int:
        """How many units the bucket still lacks, in whole ones."""
        return max(0, tat - now) * self.units // self.period


def _slack(burst: int) -> int:
    return min(burst - 1, 1000)
