"""Schedules: when they tick, and what becomes of ticks that nobody was there for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import takewhile
from typing import Any, Literal

from attrs import frozen

from jobq._checks import is_storable, priority_number, short_text
from jobq._clock import SECOND, SystemClock, from_datetime, to_datetime
from jobq._errors import ConfigurationError, OptionError

CatchUp = Literal["skip", "one", "all"]
POLICIES = ("skip", "one", "all")
ON_TIME = 60 * SECOND
"""With `skip`, a tick that is noticed later than this was missed, in microseconds."""
MOST = 1000
"""How many missed ticks `all` makes up for; before these, the oldest are left out."""
_HOUR = 3600 * SECOND


@frozen(kw_only=True)
class Schedule:
    """At each tick of a cron expression, a job of a type."""

    name: str
    type: str
    expression: str
    tz: str
    catch_up: str
    overlap: bool
    payload: str
    """JSON text."""
    queue: str | None = None
    priority: int | None = None
    owner: str | None = None

    @property
    def unique_key(self) -> str | None:
        """Held by the job of one tick, where the next may not overlap it."""
        return None if self.overlap else f"schedule:{self.name}"

    def ticks(self, after: int) -> Iterator[int]:
        """The instants at which it ticks, from the first one after an instant, in order.

        Raises `ConfigurationError` where the expression or the zone is none that is known here.
        """
        from cronsim import CronSim, CronSimError

        try:
            simulated = CronSim(self.expression, to_datetime(after).astimezone(zone(self.tz)))
        except CronSimError as error:
            raise ConfigurationError(f"{self.expression!r:.100} is no schedule: {error}") from None
        return _rising(simulated, after)

    def next_tick(self, after: int) -> int | None:
        """The first tick after an instant; `None` where there is none within 50 years."""
        return next(self.ticks(after), None)

    def due(self, since: int, now: int) -> Due:
        """Which ticks become jobs, when those up to `since` have been dealt with."""
        if since > now:  # the clock went back; what has ticked does not tick again
            return Due(ticks=[], left_out=0, next_tick=self.next_tick(now))
        found = self._newest(since, now)
        ticks = self._made_up_for(found, now)
        left_out = len(found) - len(ticks)
        return Due(ticks=ticks, left_out=left_out, next_tick=self.next_tick(now))

    def _made_up_for(self, found: list[int], now: int) -> list[int]:
        if self.catch_up == "all" and self.overlap:
            return found[-MOST:]
        newest = found[-1:]
        if self.catch_up == "skip" and newest and now - newest[0] > ON_TIME:
            return []
        return newest

    def _newest(self, since: int, now: int) -> list[int]:
        """The newest ticks after `since`, one more than are ever made up for.

        Looks back further and further, so that years of minutes are not walked over.
        """
        reach = _HOUR
        while True:
            begin = max(since, now - reach)
            ticks = takewhile(lambda tick: tick <= now, self.ticks(begin))
            found = deque(ticks, maxlen=MOST + 1)
            if begin == since or len(found) > MOST:
                return list(found)
            reach *= 4


@frozen(kw_only=True)
class Due:
    """What is to be done about a schedule."""

    ticks: list[int]
    """The ticks that become jobs, in order."""
    left_out: int
    """How many were missed and are not made up for; counted up to a thousand."""
    next_tick: int | None


@frozen(kw_only=True)
class ScheduleInfo:
    """A schedule as it stands."""

    name: str
    type: str
    expression: str
    tz: str
    catch_up: str
    overlap: bool
    paused: bool
    declared: bool
    """Whether some code that has it ran within ten minutes; without any it does not tick."""
    seen_at: datetime
    """When such code ran last."""
    next_tick: datetime | None
    last_tick: datetime | None
    """The last tick that became a job."""
    last_job_id: str | None
    last_status: str | None
    """The status of that job; `None` where it has been deleted."""


def _rising(simulated: Iterator[datetime], after: int) -> Iterator[int]:
    """Instants in order, each once.

    Those that a change of clocks shifts may fall together; and from within a repeated hour, the
    simulation begins with the first of the two.
    """
    last = after
    try:
        for moment in simulated:
            instant = from_datetime(moment.astimezone(UTC), name="tick")
            if instant > last:
                last = instant
                yield instant
    except (OverflowError, OptionError):  # beyond the year 9999
        return


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The time zone of an IANA name. Raises `ConfigurationError` for an unknown one."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ConfigurationError(
            f"tz={name!r:.100} is no time zone that is known here; they have names like "
            f"'Europe/Berlin' (the package tzdata has them, where the system has not)"
        ) from None


def declared(
    *,
    type: str,
    name: str | None,
    expression: str,
    tz: str,
    catch_up: str,
    overlap: bool,
    payload: str,
    queue: str | None,
    priority: int | str | None,
    owner: str | None,
) -> Schedule:
    """A schedule as code declares it, checked. Raises `ConfigurationError`."""
    try:
        schedule = Schedule(
            name=short_text(name, "name", limit=200) or type,
            type=type,
            expression=_expression(expression),
            tz=_zone_name(tz),
            catch_up=catch_up,
            overlap=_overlap(overlap, catch_up),
            payload=payload,
            queue=short_text(queue, "queue", limit=100),
            priority=None if priority is None else priority_number(priority),
            owner=short_text(owner, "owner"),
        )
        if schedule.next_tick(SystemClock().now()) is None:
            raise OptionError(f"{expression!r} never ticks")
    except (OptionError, ConfigurationError) as error:
        raise ConfigurationError(f"schedule {name or type!r:.100}: {error}") from None
    return schedule


def _expression(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200 or not is_storable(value):
        raise OptionError(f"a cron expression is text of five fields, not {value!r:.100}")
    fields = value.split()
    if len(fields) not in (5, 6):
        raise OptionError(
            f"{value!r:.100} has {len(fields)} fields; a cron expression has five, minute, hour, "
            f"day of month, month and day of week, or six with the second before them"
        )
    return " ".join(fields)


def _zone_name(value: Any) -> str:
    if not isinstance(value, str) or not is_storable(value):
        raise OptionError(f"tz must be the name of a time zone, not {value!r:.100}")
    zone(value)
    return value


def _overlap(value: Any, catch_up: Any) -> bool:
    if catch_up not in POLICIES:
        raise OptionError(f"catch_up={catch_up!r:.100} is none of 'skip', 'one', 'all'")
    if not isinstance(value, bool):
        raise OptionError(f"overlap must be True or False, not {value!r:.100}")
    if catch_up == "all" and not value:
        raise OptionError(
            "catch_up='all' and overlap=False contradict each other: a job for every missed tick, "
            "and none while one is unfinished. To have all, but one at a time, give the handler "
            "limits=[jobq.Concurrency(…, 1)]"
        )
    return value
