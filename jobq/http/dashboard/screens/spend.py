"""Spend: what jobs have cost, by whom and by what."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobq import _spend_verbs
from jobq._spend import SpendTotal
from jobq.http.dashboard.charts import Chart, stacked
from jobq.http.dashboard.visit import Visit
from jobq.http.reading import invalid
from jobq.http.steps import Ask, Operation

BY = ("type", "owner", "provider", "model", "queue", "day")
PERIODS = {"24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}
DAYS = 30
SHOWN = 100


def spend(visit: Visit) -> Operation:
    operator = yield from visit.admit()
    by, period = visit.asked("by") or "type", visit.asked("period") or "30d"
    if by not in BY or period not in PERIODS:
        raise invalid(f"by={by!r:.50}, period={period!r:.50} are not known")
    now = visit.now()
    groups: list[SpendTotal] = yield _totals(by, now - PERIODS[period])
    days: list[SpendTotal] = yield _totals("day", now - PERIODS["30d"])
    return visit.page(
        operator,
        groups=groups[:SHOWN],
        more=max(0, len(groups) - SHOWN),
        micros=sum(group.micros for group in groups),
        retried=sum(group.retried_micros for group in groups),
        requests=sum(group.requests for group in groups),
        most=max((group.micros for group in groups), default=0),
        chart=_chart(days, now),
        by=by,
        period=period,
        kinds=BY,
        periods=PERIODS,
    )


def _totals(by: str, since: datetime) -> Ask:
    where: dict[str, Any] = {"until": None, "tz": "UTC", "owner": None, "type": None, "job": None}
    return Ask(_spend_verbs.spend, by, since=since, **where)


def _chart(days: list[SpendTotal], now: datetime) -> Chart:
    """A column for each of the last days: what was paid for once, and what for once more."""
    known = {day.key: day for day in days}
    columns = []
    for back in range(DAYS - 1, -1, -1):
        date = (now - timedelta(days=back)).date().isoformat()
        day = known.get(date)
        paid, retried = (day.micros, day.retried_micros) if day is not None else (0, 0)
        title = f"{date}: ${paid / 1e6:,.2f}, of it ${retried / 1e6:,.2f} for retries"
        columns.append((title, {"processing": paid - retried, "rate_limited": retried}))
    return stacked(columns)
