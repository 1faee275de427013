"""One job: what became of it, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from attrs import frozen

from jobq import _artifact_verbs, _verbs
from jobq._model import MOVES, Attempt, Job, JobStatus
from jobq._spend import SpendTotal
from jobq.artifacts import Artifact
from jobq.backends.ops import StepDone
from jobq.http import reading
from jobq.http.dashboard import verbs
from jobq.http.dashboard.formats import words
from jobq.http.dashboard.screens.artifacts import PICTURES
from jobq.http.dashboard.visit import Visit
from jobq.http.steps import Ask, Operation

DONE = {
    "retry": "It runs again, with all its attempts.",
    "run_now": "It is due now.",
    "cancel": "Cancelled.",
}


def job(visit: Visit) -> Operation:
    operator = yield from visit.admit()
    found: Job = yield Ask(_verbs.get, reading.id_of(visit.id))
    attempts: list[Attempt] = yield Ask(verbs.history, found.id)
    steps: list[StepDone] = yield Ask(verbs.steps, found.id)
    saved: list[Artifact] = yield Ask(_artifact_verbs.artifacts, [found.id])
    paid: list[SpendTotal] = yield Ask(verbs.spend_of, found.id)
    return visit.page(
        operator,
        job=found,
        attempts=attempts[::-1],
        steps=steps,
        artifacts=[one for one in saved if one.status == "stored"],
        pictures=PICTURES,
        paid=paid,
        timeline=timeline(found, visit.now()),
        actions=possible(found, visit.now()),
    )


def move(visit: Visit) -> Operation:
    action, operator = yield from visit.submit(DONE)
    id = reading.id_of(visit.id)
    if action == "run_now":
        moved = yield Ask(_verbs.reschedule, id, run_at=None, delay=0, priority=None, queue=None)
    else:
        verb: Callable[..., Any] = {"retry": _verbs.retry, "cancel": _verbs.cancel}[action]
        moved = yield Ask(verb, id)
    visit.log(operator, action, f"job {id}")
    asked = action == "cancel" and not moved.status.finished
    notice = "It is asked to stop." if asked else DONE[action]
    return visit.done(notice, f"/jobs/{id}")


def possible(job: Job, now: datetime) -> tuple[str, ...]:
    """What may be done with a job as it is."""
    some = []
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.WAITING):
        some.append("retry")
    if job.status in MOVES["reschedule"].sources and job.run_at > now:
        some.append("run_now")
    if job.status in MOVES["cancel"].sources and not job.cancel_requested:
        some.append("cancel")
    if job.status in MOVES["delete"].sources:
        some.append("delete")
    return tuple(some)


@frozen
class Station:
    """One point of a job's life."""

    name: str
    at: datetime | None
    state: str
    """`done`, `now`, `ahead`, or the status that it ended in."""
    after: float | None = None
    """Seconds since the one before."""


def timeline(job: Job, now: datetime) -> tuple[Station, ...]:
    """What a job has been through, and what is ahead of it."""
    points: list[tuple[str, datetime | None]] = [("created", job.created_at)]
    if (job.run_at - job.created_at).total_seconds() >= 1 and job.run_at <= (
        job.started_at or job.run_at
    ):
        points.append(("due", job.run_at))
    points.append(("started", job.started_at))
    points.append((_ending(job), job.completed_at))
    stations: list[Station] = []
    before: datetime | None = None
    for name, at in points:
        is_past = at is not None and at <= now
        after = (at - before).total_seconds() if at is not None and before is not None else None
        stations.append(Station(words(name), at, _state(job, name, is_past=is_past), after))
        before = at or before
    return tuple(stations)


def _ending(job: Job) -> str:
    return job.status.value if job.status.finished else "finished"


def _state(job: Job, name: str, *, is_past: bool) -> str:
    if name == job.status.value:
        return name
    if name == "started" and job.status is JobStatus.PROCESSING:
        return "now"
    return "done" if is_past else "ahead"
