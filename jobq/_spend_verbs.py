"""What a queue can tell about money; a verb as those of `_verbs`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from jobq import backends
from jobq._checks import short_text
from jobq._clock import from_datetime, to_datetime
from jobq._config import Config
from jobq._errors import OptionError
from jobq._model import job_id
from jobq._spend import GROUPS, SpendTotal, check_zone
from jobq._steps import Do
from jobq._verbs import Verb

MOST = 1000
"""How many groups are told, the largest ones."""
QUARTERS = 96 * 366
"""How many quarters of an hour are put together to days, the latest ones."""


def spend(
    config: Config,  # noqa: ARG001  every verb takes it
    by: str,
    *,
    since: datetime | None,
    until: datetime | None,
    tz: str,
    owner: str | None,
    type: str | None,
    job: Any,
) -> Verb[list[SpendTotal]]:
    if by not in GROUPS:
        raise OptionError(f"by={by!r:.100} must be one of {', '.join(GROUPS)}")
    check_zone(tz)
    which = backends.ops.Which(
        since=None if since is None else from_datetime(since, name="since"),
        until=None if until is None else from_datetime(until, name="until"),
        owner=short_text(owner, "owner"),
        type=short_text(type, "type"),
        job_id=None if job is None else job_id(job),
    )
    most = QUARTERS if by == "day" else MOST
    rows = yield Do(backends.ops.spend_totals, by, which, most=most)
    return _by_day(rows, tz) if by == "day" else [_total(*row) for row in rows]


def _total(key: str | None, micros: int, requests: int, retried: int) -> SpendTotal:
    return SpendTotal(key=key, micros=micros, requests=requests, retried_micros=retried)


def _by_day(rows: Iterable[tuple[int, int, int, int]], tz: str) -> list[SpendTotal]:
    """The days of a time zone, from quarters of an hour; the latest first."""
    from zoneinfo import ZoneInfo

    zone, days = ZoneInfo(tz), dict[str, list[int]]()
    for quarter, *sums in rows:
        moment = to_datetime(quarter * backends.ops.QUARTER)
        day = days.setdefault(moment.astimezone(zone).date().isoformat(), [0, 0, 0])
        day[:] = map(sum, zip(day, sums, strict=True))
    return [_total(day, *sums) for day, sums in days.items()]
