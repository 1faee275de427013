"""How many jobs a worker may hold ahead of its slots: what it finishes in a tenth of a second.

Short jobs would otherwise wait for a round trip to the database each time that slots come free.
Slow ones gain nothing by it and would be kept from other workers, so they are never held ahead.
"""

from __future__ import annotations

HORIZON = 0.1
"""Seconds of work to hold ahead."""
MOST = 1000
"""How many jobs to hold ahead at most, unless a worker is told otherwise."""
SHORT = 0.01
"""Seconds that an attempt may take on average, where jobs are to be held ahead."""
PATIENCE = 0.25
"""Seconds after which a job that still waits for a slot goes back."""
REST = 5.0
"""Seconds without jobs held ahead, after some had to go back."""
WINDOW = 0.05
"""Seconds after which a measurement ends, however little was done."""
GLANCE = 0.005
"""Seconds after which it ends if more was done than expected."""
GAP = 1.0
"""Seconds after which what was measured says nothing any more."""


class Ahead:
    """Measures attempts and tells how many jobs to hold ahead. Times are monotonic, in seconds."""

    def __init__(self, most: int = MOST) -> None:
        self.size = 0
        self._most = most
        self._since = 0.0
        self._ended = 0
        self._seconds = 0.0
        self._were_slow = False
        self._not_before = 0.0

    def ended(self, took: float) -> None:
        """An attempt has ended; it took so many seconds."""
        self._ended += 1
        self._seconds += took

    @property
    def are_slow(self) -> bool:
        """Whether attempts take long, as far as it is known."""
        return self._seconds >= SHORT * self._ended if self._ended else self._were_slow

    def measure(self, now: float) -> None:
        """Outcomes are durable: see what was done since the last look."""
        span = now - self._since
        if span < GLANCE:
            return
        usable = span < GAP and not self.are_slow and now >= self._not_before
        size = min(self._most, round(self._ended / span * HORIZON)) if usable else 0
        if size > self.size or span >= WINDOW:
            self.size, self._were_slow = size, self.are_slow
            self._since, self._ended, self._seconds = now, 0, 0.0

    def failed(self, now: float) -> None:
        """Jobs that were held ahead could not be started in time."""
        self.size = 0
        self._not_before = now + REST
