"""The table of pages and forms, for adapters to mount."""

from __future__ import annotations

from typing import Any

from jobq.http.dashboard.screens import (
    artifacts,
    database,
    failures,
    job,
    jobs,
    limits,
    look,
    overview,
    queues,
    schedules,
    spend,
    workers,
)
from jobq.http.routes import Route


def _route(name: str, method: str, path: str, operation: Any, summary: str) -> Route:
    return Route(
        name=name,
        method=method,
        path=path,
        part="dashboard",
        summary=summary,
        operation=operation,
        answers=(),
    )


ROUTES = (
    _route("overview", "GET", "", overview.overview, "How things are"),
    _route("jobs", "GET", "/jobs", jobs.jobs, "Jobs that fit"),
    _route("bulk", "GET", "/jobs/bulk", jobs.confirm, "How many would be moved"),
    _route("bulk", "POST", "/jobs/bulk", jobs.move_many, "Move many jobs"),
    _route("job", "GET", "/jobs/{id}", job.job, "One job"),
    _route("job", "POST", "/jobs/{id}", job.move, "Move a job"),
    _route("artifact", "GET", "/jobs/{id}/artifacts/{name}", artifacts.artifact, "What it saved"),
    _route("failures", "GET", "/failures", failures.failures, "Failures by exception"),
    _route("queues", "GET", "/queues", queues.queues, "Queues"),
    _route("queues", "POST", "/queues", queues.change, "Pause or resume a queue"),
    _route("limits", "GET", "/limits", limits.limits, "Limits"),
    _route("limits", "POST", "/limits", limits.change, "Change, close or open a limit"),
    _route("workers", "GET", "/workers", workers.workers, "Workers"),
    _route("schedules", "GET", "/schedules", schedules.schedules, "Schedules"),
    _route("schedules", "POST", "/schedules", schedules.change, "Pause or resume a schedule"),
    _route("spend", "GET", "/spend", spend.spend, "What jobs have cost"),
    _route("database", "GET", "/database", database.database, "How the database is doing"),
    _route("theme", "POST", "/theme", look.theme, "Remember a theme"),
    _route("asset", "GET", "/assets/{id}", look.asset, "What pages load"),
)
