"""Three ways in which providers count a minute, and the day. Pure: the time is an argument.

A window answers how long an amount has to wait and how much of it is free. The code is as plain as
can be, because what it lets through is believed without further proof.
"""

from __future__ import annotations

import math
from collections import deque
from datetime import datetime, time, timedelta
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

WindowKind = Literal["sliding", "fixed", "bucket"]


class Window(Protocol):
    """What is left of a limit. `limit` may be changed at any time."""

    limit: int

    def wait(self, amount: int, now: float) -> float:
        """Seconds until `amount` is let in: 0 at once, infinity never."""

    def take(self, amount: int, now: float) -> None:
        """Count what was let in."""

    def free(self, now: float) -> int:
        """The amount that is let in at once."""


class SlidingLog:
    """Never more than `limit` in any span of `period` seconds."""

    def __init__(self, limit: int, period: float) -> None:
        self.limit = limit
        self.period = period
        self._taken: deque[tuple[float, int]] = deque()

    def wait(self, amount: int, now: float) -> float:
        if amount > self.limit:
            return math.inf
        excess = self._used(now) + amount - self.limit
        until = now
        for at, taken in self._taken:
            if excess <= 0:
                break
            excess -= taken
            until = at + self.period
        return until - now

    def take(self, amount: int, now: float) -> None:
        self._taken.append((now, amount))

    def free(self, now: float) -> int:
        return max(0, self.limit - self._used(now))

    def _used(self, now: float) -> int:
        while self._taken and self._taken[0][0] + self.period <= now:
            self._taken.popleft()
        return sum(amount for _, amount in self._taken)


class FixedWindow:
    """Never more than `limit` between two ticks of the clock; twice as much around a tick."""

    def __init__(self, limit: int, period: float) -> None:
        self.limit = limit
        self.period = period
        self._tick = -1
        self._used = 0

    def wait(self, amount: int, now: float) -> float:
        if amount > self.limit:
            return math.inf
        fits = amount <= self.free(now)
        return 0.0 if fits else (now // self.period + 1) * self.period - now

    def take(self, amount: int, now: float) -> None:
        self.free(now)
        self._used += amount

    def free(self, now: float) -> int:
        tick = int(now // self.period)
        if tick != self._tick:
            self._tick, self._used = tick, 0
        return max(0, self.limit - self._used)


class TokenBucket:
    """`limit` a period flow in evenly, and up to `burst` are kept (the limit, unless given)."""

    def __init__(self, limit: int, period: float, burst: int | None = None) -> None:
        self.limit = limit
        self.period = period
        self.burst = burst
        self._level = math.inf
        self._at = 0.0

    def wait(self, amount: int, now: float) -> float:
        if amount > self._capacity():
            return math.inf
        lacking = max(0.0, amount - self._fill(now))
        return lacking * self.period / self.limit if lacking > 1e-9 else 0.0

    def take(self, amount: int, now: float) -> None:
        self._level = self._fill(now) - amount

    def free(self, now: float) -> int:
        return max(0, int(self._fill(now) + 1e-9))

    def _capacity(self) -> int:
        return self.limit if self.burst is None else min(self.burst, self.limit)

    def _fill(self, now: float) -> float:
        flowed = (now - self._at) * self.limit / self.period
        self._level = min(self._capacity(), self._level + flowed)
        self._at = now
        return self._level


class CalendarDay:
    """Never more than `limit` between two midnights of a place."""

    def __init__(self, limit: int, zone: str = "America/Los_Angeles") -> None:
        self.limit = limit
        self._zone = ZoneInfo(zone)
        self._ends = -math.inf
        self._used = 0

    def wait(self, amount: int, now: float) -> float:
        if amount > self.limit:
            return math.inf
        return 0.0 if amount <= self.free(now) else self._ends - now

    def take(self, amount: int, now: float) -> None:
        self.free(now)
        self._used += amount

    def free(self, now: float) -> int:
        if now >= self._ends:
            self._ends, self._used = self._midnight(now), 0
        return max(0, self.limit - self._used)

    def _midnight(self, now: float) -> float:
        tomorrow = datetime.fromtimestamp(now, self._zone).date() + timedelta(days=1)
        return datetime.combine(tomorrow, time(), self._zone).timestamp()


def window(kind: WindowKind, limit: int, period: float, burst: int | None = None) -> Window:
    """A window of the kind that was asked for.

    Raises:
        ValueError: there is no such kind.
    """
    if kind == "sliding":
        return SlidingLog(limit, period)
    if kind == "fixed":
        return FixedWindow(limit, period)
    if kind == "bucket":
        return TokenBucket(limit, period, burst)
    raise ValueError(f"window must be sliding, fixed or bucket, not {kind!r}")
