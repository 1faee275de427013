"""A job, as the result of a Django task."""

from __future__ import annotations

import builtins
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from jobq._model import Attempt, Job, JobStatus
from jobq.contrib.django import _task_api as api
from jobq.contrib.django._task_types import parts_of

STATUSES = {
    JobStatus.PENDING: "READY",
    JobStatus.RATE_LIMITED: "READY",
    JobStatus.WAITING: "RUNNING",
    JobStatus.PROCESSING: "RUNNING",
    JobStatus.COMPLETED: "SUCCESSFUL",
    JobStatus.FAILED: "FAILED",
    JobStatus.CANCELLED: "FAILED",
}
GIVEN_BACK = ("released", "snoozed", "rate_limited")
"""Attempts that did not count."""
BY_CODE = {
    "timeout": "builtins.TimeoutError",
    "expired": "builtins.TimeoutError",
    "cancelled": "asyncio.CancelledError",
    "crashed": "jobq.LeaseLost",
    "crash_loop": "jobq.LeaseLost",
    "invalid_payload": "jobq.PayloadError",
    "result_unstorable": "jobq.ResultError",
}
"""The exceptions that stand for ends that nobody raised."""


def find_task(path: str) -> Any:
    """The task at a path. Raises `ImportError` where there is none; what is no task stays alone."""
    found = import_string(path)
    if isinstance(found, api.Task):
        return found
    raise ImportError(f"{path!r} is no task, but a {type(found).__name__}")


def result_of(backend: Any, task: Any, job: Job, history: Sequence[Attempt]) -> Any:
    """The result of a task; where that is not given, it is found by the job's type."""
    counted = [attempt for attempt in history if attempt.outcome not in GIVEN_BACK]
    running = job.status is JobStatus.PROCESSING
    begun = [attempt.started_at for attempt in counted]
    if running and job.started_at is not None:
        begun.append(job.started_at)
    workers = {attempt.number: attempt.worker for attempt in counted}
    if running:
        workers[job.attempts] = job.worker
    status = api.TaskResultStatus[STATUSES[job.status]]
    result = api.TaskResult(
        task=_enqueued_task(backend, job) if task is None else task,
        id=job.id,
        status=status,
        enqueued_at=local(job.created_at),
        started_at=local(min(begun, default=None)),
        finished_at=local(job.completed_at),
        last_attempted_at=local(max(begun, default=None)),
        args=job.payload["args"],
        kwargs=job.payload["kwargs"],
        backend=backend.alias,
        errors=_errors(job, counted),
        worker_ids=[worker or "" for _, worker in sorted(workers.items())],
    )
    object.__setattr__(result, "_return_value", job.result)
    return result


def _enqueued_task(backend: Any, job: Job) -> Any:
    """The task as it was enqueued."""
    _, path = parts_of(job.type) or ("", "")
    try:
        task = find_task(path)
    except ImportError as error:
        raise api.TaskResultDoesNotExist(f"{job.id}: {error}") from error
    run_after = job.metadata.get("run_after")
    options = {
        "backend": backend.alias,
        "priority": job.priority,
        "queue_name": job.queue,
        "run_after": None if run_after is None else datetime.fromisoformat(run_after),
    }
    try:
        return replace(task, **options)
    except api.InvalidTask:  # it was moved to another queue since, or the settings have changed
        return task


def _errors(job: Job, attempts: Sequence[Attempt]) -> list[Any]:
    errors = [error_of(attempt) for attempt in attempts if attempt.error is not None]
    if (
        not errors
        and job.error is not None
        and job.status in (JobStatus.FAILED, JobStatus.CANCELLED)
    ):
        path = BY_CODE.get(job.error_code or "", "jobq.JobqError")
        errors = [api.TaskError(exception_class_path=path, traceback=job.error)]
    return errors


def error_of(attempt: Attempt) -> Any:
    """The error of an attempt; the exception's class is read from its traceback."""
    text = attempt.traceback or attempt.error or ""
    path = _class_path(attempt) or BY_CODE.get(attempt.error_code or "", "jobq.JobqError")
    return api.TaskError(exception_class_path=path, traceback=text)


def _class_path(attempt: Attempt) -> str | None:
    """The class as the traceback's own last headline names it."""
    first_line = (attempt.error or "").partition("\n")[0]
    _, _, said = first_line.partition(": ")
    for line in reversed((attempt.traceback or "").splitlines()):
        path, _, rest = line.partition(": ")
        if re.fullmatch(r"[\w.<>]+", path) and rest in (said, first_line):
            return path if "." in path else _unqualified(path)
    return None


def _unqualified(name: str) -> str:
    """Tracebacks name the module of all but two kinds of exceptions."""
    return f"builtins.{name}" if hasattr(builtins, name) else f"__main__.{name}"


def local(moment: datetime | None) -> datetime | None:
    """A datetime as the project's settings want it."""
    if moment is None or settings.USE_TZ:
        return moment
    naive: datetime = timezone.make_naive(moment, timezone.get_default_timezone())
    return naive
