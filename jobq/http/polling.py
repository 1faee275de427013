"""What a client is told about where and when to ask for a job: decisions about values."""

from __future__ import annotations

import math
from datetime import datetime

from jobq._model import Job, JobStatus
from jobq.http.messages import Response, answer
from jobq.http.shapes import CreatedView

LATEST = 60


def poll_after(job: Job, now: datetime) -> int | None:
    """Seconds until there may be news of a job; `None` where there will be none."""
    if job.status.finished:
        return None
    if job.status is JobStatus.PROCESSING:
        return 1
    if job.status is JobStatus.WAITING:
        return 5
    expected = job.retry_at or job.run_at
    if job.eta is not None:
        return _bounded(job.eta)
    return _bounded((expected - now).total_seconds()) if expected > now else 2


def _bounded(seconds: float) -> int:
    return max(1, min(LATEST, math.ceil(seconds)))


def ask_again(job: Job, now: datetime) -> dict[str, str]:
    """The header that says when."""
    rest = poll_after(job, now)
    return {} if rest is None else {"retry-after": str(rest)}


def accepted(job: Job, place: str, now: datetime) -> Response:
    """The answer to whoever has created a job; 200 where it was there before."""
    created = CreatedView(jobId=job.id, status=job.status.value)
    headers = {"location": place, **ask_again(job, now)}
    return answer(created, status=202 if job.created else 200, headers=headers)


def etag(job: Job) -> str:
    """The entity tag of a job. A weak one: places and estimates change between versions."""
    return f'W/"{job.version}"'
