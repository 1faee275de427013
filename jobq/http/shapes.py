"""The JSON of requests and answers, as classes: what OpenAPI, tests and clients' types go by.

`JobView` is what `Job.to_dict` returns. Dataclasses, because every framework can read them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

STATUSES = Literal[
    "pending", "processing", "rate_limited", "waiting", "completed", "failed", "cancelled"
]


@dataclass(kw_only=True)
class WaitingForView:
    """The limit that holds a job back."""

    limit: str
    until: str | None


@dataclass(kw_only=True)
class JobView:
    """A job. Instants are ISO 8601 in UTC, `progress` runs from 0 to 100."""

    id: str
    type: str
    queue: str
    status: STATUSES
    priority: int
    progress: int
    message: str | None
    partial: dict[str, Any] | None
    result: Any
    error: str | None
    errorCode: str | None
    attempts: int
    maxAttempts: int | None
    createdAt: str
    runAt: str
    startedAt: str | None
    completedAt: str | None
    updatedAt: str
    retryAt: str | None
    waitingFor: WaitingForView | None
    position: int | None
    etaSeconds: float | None
    batchId: str | None


@dataclass(kw_only=True)
class NewJobView:
    """A job to create."""

    type: str
    payload: Any = None
    priority: int | Literal["urgent", "normal", "batch"] = 0
    scheduledFor: str | None = None
    """Not before then: ISO 8601 with an offset."""
    owner: str | None = None
    """Whose job it is to be; only for callers who may see everybody's."""


@dataclass(kw_only=True)
class CreatedView:
    """A job that was created, or that the same idempotency key has created before."""

    jobId: str
    status: STATUSES


@dataclass(kw_only=True)
class PageView:
    """Some jobs, newest first; `next` is the cursor (`after`) of the page after this one."""

    jobs: list[JobView]
    next: str | None


@dataclass(kw_only=True)
class ArtifactView:
    """Something that a job has saved; `url` is where it may be read, once it is `stored`."""

    id: str
    jobId: str
    name: str
    url: str | None
    contentType: str
    bytes: int
    sha256: str
    key: str
    step: str
    status: Literal["uploading", "stored", "replaced", "deleting"]
    createdAt: str | None


@dataclass(kw_only=True)
class ArtifactsView:
    """What a job has saved, oldest first."""

    artifacts: list[ArtifactView]


@dataclass(kw_only=True)
class BatchView:
    """A batch of jobs: how many there were, and how many of those still kept are in each status."""

    id: str
    total: int
    progress: int
    jobs: dict[str, int]
    deleted: int
    createdAt: str
    endedAt: str | None
    thenJobId: str | None


@dataclass(kw_only=True)
class ReportView:
    """What one call of the drive endpoint came to."""

    success: bool
    processed: int
    completed: int
    failed: int
    rateLimited: int
    released: int
    remaining: int
    nextRunAt: str | None
    elapsedMs: int
    stoppedBecause: Literal["empty", "budget", "maxJobs", "limited"]


@dataclass(kw_only=True)
class QueueView:
    """A queue in use: how many live jobs it has in each status (capped), and its pause."""

    queue: str
    paused: bool
    pausedUntil: str | None
    live: dict[str, int]


@dataclass(kw_only=True)
class StateView:
    """The state of the queue: how many jobs are in each status, up to `cap`."""

    pending: int
    processing: int
    rateLimited: int
    waiting: int
    completed: int
    failed: int
    cancelled: int
    cap: int
    nextRunAt: str | None
    workers: int
    queues: list[QueueView] = field(default_factory=list)


@dataclass(kw_only=True)
class ResumedView:
    """What an event has brought about."""

    resumed: bool


@dataclass(kw_only=True)
class HealthView:
    """That the process, or the database behind it, answers."""

    status: Literal["healthy", "ready"]


@dataclass(kw_only=True)
class ProblemView:
    """Why a request was refused (RFC 9457). `code` is for machines; `error` repeats the title."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    error: str
