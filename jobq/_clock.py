"""Time: integer microseconds since 1970 in UTC inside, aware datetimes outside."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from jobq._errors import OptionError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND

SECOND = 1_000_000
_LONGEST = 10_000_000_000
"""Some 300 years, in seconds: added to today, that is still a datetime."""


class Clock(Protocol):
    """What time it is.

    On SQLite jobq asks this clock; on PostgreSQL it asks the database's, except when `frozen`
    is true: then this clock's time is sent along with every statement.
    """

    @property
    def frozen(self) -> bool:
        """Whether this clock also stands in for the database's."""

    def now(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""


class SystemClock:
    """The clock of this process."""

    frozen = False

    def now(self) -> int:
        return time.time_ns() // 1000


def to_datetime(instant: int) -> datetime:
    """The aware UTC datetime of an instant in microseconds.

    A job that was stored by other means may have one that no datetime can be: then the nearest.
    """
    try:
        return _EPOCH + timedelta(microseconds=instant)
    except OverflowError:
        return _EPOCH + timedelta(microseconds=min(max(instant, _FIRST), _LAST))


def from_datetime(value: datetime, *, name: str) -> int:
    """The instant of an aware datetime; `name` is the option that an error talks about."""
    if not isinstance(value, datetime):
        raise OptionError(f"{name} must be a datetime, not {value!r}")
    if value.utcoffset() is None:
        raise OptionError(
            f"{name}={value!r} has no time zone; use datetime.now(UTC) or "
            f"value.replace(tzinfo=…), so that it means one instant"
        )
    instant = (value - _EPOCH) // _MICROSECOND
    if not _FIRST <= instant <= _LAST:
        raise OptionError(f"{name}={value!r} is no instant of the years 1 to 9999 in UTC")
    return instant


def to_span(value: float | timedelta, *, name: str) -> int:
    """A duration given as seconds or a timedelta, in microseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        raise OptionError(f"{name} must be seconds or a timedelta, not {value!r}")
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not -_LONGEST <= seconds <= _LONGEST:  # also refuses NaN
        raise OptionError(f"{name}={value!r} is not a number of seconds that can be stored")
    return value // _MICROSECOND if isinstance(value, timedelta) else round(value * SECOND)
