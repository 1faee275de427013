"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import datetime, timedelta

from jobq._clock import SystemClock, from_datetime, to_datetime, to_span
from jobq._errors import OptionError


class FrozenClock:
    """A `jobq.Clock` for tests: schedules, leases, backoff and retention follow it alone.

    Given to a queue, it also stands in for PostgreSQL's clock. It starts at `start`, an aware
    datetime, or at the present time, and then moves only when it is told to. Any thread may read
    it.

    >>> clock = FrozenClock()
    >>> queue = jobq.Queue("sqlite:///test.db", clock=clock)  # doctest: +SKIP
    >>> job = queue.enqueue("report", delay=3600)  # doctest: +SKIP
    >>> drain(queue)  # doctest: +SKIP
    0
    >>> moment = clock.advance(3600)
    >>> drain(queue)  # doctest: +SKIP
    1
    """

    frozen = True

    def __init__(self, start: datetime | None = None) -> None:
        self._now = SystemClock().now() if start is None else from_datetime(start, name="start")

    def __repr__(self) -> str:
        return f"<FrozenClock {self.time.isoformat()}>"

    def now(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        return self._now

    @property
    def time(self) -> datetime:
        """What time it is, as an aware datetime in UTC."""
        return to_datetime(self._now)

    def advance(self, by: float | timedelta) -> datetime:
        """Move on by seconds or a timedelta; the new time. Raises `OptionError` for less than 0."""
        span = to_span(by, name="advance")
        if span < 0:
            raise OptionError(f"advance({by!r}) would go back in time; use set() if you mean it")
        self._now += span
        return self.time

    def set(self, moment: datetime) -> datetime:
        """Jump to an aware datetime, forwards or back; the new time."""
        self._now = from_datetime(moment, name="moment")
        return self.time
