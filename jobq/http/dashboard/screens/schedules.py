"""Schedules: when they tick, what became of it; pausing them."""

from __future__ import annotations

from jobq import _schedule_verbs
from jobq._cron import ScheduleInfo
from jobq.http.dashboard.visit import Visit
from jobq.http.steps import Ask, Operation

DONE = {"pause_schedule": "paused", "resume_schedule": "on again, from now on"}


def schedules(visit: Visit) -> Operation:
    operator = yield from visit.admit()
    found: list[ScheduleInfo] = yield Ask(_schedule_verbs.schedules)
    return visit.page(operator, schedules=found)


def change(visit: Visit) -> Operation:
    action, operator = yield from visit.submit(DONE)
    name = visit.needed("name")
    if action == "pause_schedule":
        yield Ask(_schedule_verbs.pause_schedule, name)
    else:
        yield Ask(_schedule_verbs.resume_schedule, name)
    visit.log(operator, action, f"schedule {name}")
    return visit.done(f"{name} is {DONE[action]}.", "/schedules")
