"""Limits: what is free, what is closed and why; changing them while workers run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from attrs import evolve

from jobq import _limit_verbs
from jobq._errors import ConfigurationError
from jobq._model import LimitInfo
from jobq.http.dashboard.visit import Visit
from jobq.http.problems import Problem
from jobq.http.reading import invalid
from jobq.http.steps import Ask, Operation, Steps

DONE = {
    "change_limit": "changed for all workers",
    "pause_limit": "closed",
    "resume_limit": "open",
    "reset_limit": "open and full, with the numbers that workers declare",
}
NUMBERS: dict[str, tuple[str, ...]] = {
    "rate": ("n", "per", "max_cost"),
    "quota": ("n",),
    "concurrency": ("n",),
}
"""What can be changed of each kind."""


def limits(visit: Visit) -> Operation:
    operator = yield from visit.admit()
    found: list[LimitInfo] = yield Ask(_limit_verbs.limits)
    return visit.page(operator, limits=found, numbers=NUMBERS)


def change(visit: Visit) -> Operation:
    action, operator = yield from visit.submit(DONE)
    key = visit.needed("key")
    if action == "change_limit":
        yield Ask(_limit_verbs.set_limit, (yield from _changed(visit, key)))
    elif action == "pause_limit":
        until = _until(visit)
        reason = visit.given("reason") or f"paused by {operator.name or 'an operator'}"
        yield Ask(_limit_verbs.pause_limit, key, until, reason)
    elif action == "resume_limit":
        yield Ask(_limit_verbs.resume_limit, key)
    else:
        yield Ask(_limit_verbs.reset_limit, key)
    visit.log(operator, action, f"limit {key}")
    return visit.done(f"{key} is {DONE[action]}.", "/limits")


def _changed(visit: Visit, key: str) -> Steps[Any]:
    """The limit with the numbers of the form."""
    found: list[LimitInfo] = yield Ask(_limit_verbs.limits)
    info = next((one for one in found if one.key == key), None)
    if info is None or info.limit is None:
        raise Problem(404, "not_found", f"there is no limit {key!r:.100} with numbers")
    numbers = {name: _number(visit, name) for name in NUMBERS[info.kind]}
    try:
        return evolve(info.limit, **numbers)
    except ConfigurationError as error:
        raise invalid(str(error)) from None


def _number(visit: Visit, name: str) -> float:
    text = visit.needed(name)
    try:
        return float(text) if name == "per" else int(text)
    except ValueError:
        kind = "a number of seconds" if name == "per" else "a whole number"
        raise invalid(f"{name}={text!r:.50} must be {kind}") from None


def _until(visit: Visit) -> Any:
    minutes = visit.given("minutes")
    if not minutes:
        return None
    if not (minutes.isascii() and minutes.isdigit() and len(minutes) < 7 and int(minutes)):
        raise invalid(f"minutes={minutes!r:.50} must be a whole number")
    return visit.now() + timedelta(minutes=int(minutes))
