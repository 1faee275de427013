"""Jobs as values: statuses, the legal moves between them, and what a queue returns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from attrs import Factory, field, frozen

from jobq._clock import to_datetime
from jobq._errors import OptionError

try:
    from uuid import uuid7  # type: ignore[attr-defined,unused-ignore]
except ImportError:
    from uuid_utils import reseed_rng, uuid7

    # A forked process would otherwise draw its parent's ids again.
    os.register_at_fork(after_in_child=reseed_rng)


class JobStatus(StrEnum):
    """Where a job is in its life. `pending` jobs may have their `run_at` in the future."""

    PENDING = "pending"
    PROCESSING = "processing"
    RATE_LIMITED = "rate_limited"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether the job has come to its end."""
        return self in FINISHED


FINISHED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})
LIVE = frozenset(JobStatus) - FINISHED


@frozen
class Move:
    """One verb: the statuses that it may be used in, and those it may lead to."""

    verb: str
    sources: tuple[JobStatus, ...]
    targets: tuple[JobStatus, ...]
    meaning: str


def _moves() -> Mapping[str, Move]:
    s = JobStatus
    rows = (
        Move(
            "claim",
            (s.PENDING, s.RATE_LIMITED, s.WAITING),
            (s.PROCESSING,),
            "a worker takes it; attempts + 1",
        ),
        Move(
            "finish",
            (s.PROCESSING,),
            (s.COMPLETED, s.FAILED, s.CANCELLED, s.PENDING, s.RATE_LIMITED, s.WAITING),
            "its attempt ended; pending is a retry, a snooze or a release",
        ),
        Move(
            "rescue",
            (s.PROCESSING,),
            (s.PENDING, s.FAILED, s.CANCELLED),
            "its worker's lease ended without an outcome",
        ),
        Move(
            "refuse",
            (s.PENDING, s.RATE_LIMITED),
            (s.FAILED,),
            "its payload is invalid, or it expired before it started",
        ),
        Move(
            "cancel",
            (s.PENDING, s.RATE_LIMITED, s.WAITING, s.PROCESSING),
            (s.CANCELLED,),
            "a running job is asked to stop; the others end at once",
        ),
        Move(
            "retry",
            (s.FAILED, s.CANCELLED, s.RATE_LIMITED, s.WAITING, s.PROCESSING),
            (s.PENDING,),
            "run it again, with all its attempts; a running attempt is disowned",
        ),
        Move(
            "reschedule",
            (s.PENDING, s.RATE_LIMITED),
            (s.PENDING,),
            "run it at another time, or with another priority",
        ),
        Move(
            "set_status",
            (s.PENDING, s.RATE_LIMITED, s.WAITING, s.PROCESSING),
            (s.PENDING, s.COMPLETED, s.FAILED, s.CANCELLED),
            "set by hand; a running attempt is disowned",
        ),
        Move("delete", (s.COMPLETED, s.FAILED, s.CANCELLED), (), "remove it and its history"),
    )
    return {move.verb: move for move in rows}


MOVES: Mapping[str, Move] = _moves()
"""The legal moves, by verb: the one table that statements, HTTP, docs and tests read."""


def new_id() -> str:
    """A fresh job id: a UUIDv7 (RFC 9562) as text, so ids sort by the time they were made."""
    return str(uuid7())


def job_id(value: object) -> str:
    """The canonical text of a job id that a caller gave, as text or `uuid.UUID`."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Job):
        return value.id
    try:
        return str(UUID(value))  # type: ignore[arg-type]
    except (ValueError, TypeError, AttributeError):
        raise OptionError(f"{value!r} is not a job id (a UUID)") from None


def iso(value: datetime | None) -> str | None:
    """An instant as JSON shows it: ISO 8601 in UTC, to the millisecond."""
    return None if value is None else value.isoformat(timespec="milliseconds")[:-6] + "Z"


@frozen(kw_only=True)
class WaitingFor:
    """The limit that holds a job back; `until` is when it opens, where that is known."""

    limit: str
    """Its key, as `Queue.limits` shows it."""
    until: datetime | None = None
    closed: bool = False
    """Whether an operator or a provider's refusal has closed it; otherwise it is just used up."""


@frozen(kw_only=True)
class Job:
    """A job as it was when it was read. Values, not a handle: read it again to see it move.

    Instants are aware datetimes in UTC, `progress` runs from 0 to 100, `result` is what the
    handler returned, `version` grows by one with each visible change.
    """

    id: str
    type: str
    queue: str
    status: JobStatus
    priority: int = 0
    payload: Any = field(default=None, repr=False)
    declared: bool = True
    progress: int = 0
    message: str | None = None
    partial: Mapping[str, Any] | None = field(default=None, repr=False)
    """What its handler has shown so far; `None` once it has completed."""
    result: Any = field(default=None, repr=False)
    error: str | None = None
    error_code: str | None = None
    attempts: int = 0
    max_attempts: int | None = None
    rate_limited_count: int = 0
    released_count: int = 0
    snoozed_count: int = 0
    crash_count: int = 0
    timeout: float | None = None
    unique_key: str | None = None
    owner: str | None = None
    batch_id: str | None = None
    """The batch that it was enqueued with."""
    metadata: Mapping[str, Any] = Factory(dict)
    worker: str | None = None
    cancel_requested: bool = False
    version: int = 1
    created_at: datetime
    run_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    expires_at: datetime | None = None
    lease_until: datetime | None = None
    waiting_for: WaitingFor | None = None
    """The limit that holds it back, although it is due."""
    position: int | None = None
    """Its place in its lane, from 1 to 1001 ("that or more"); known where one job is read."""
    eta: float | None = None
    """Seconds until it starts, as far as its rate limits tell."""
    created: bool = field(default=True, eq=False)
    """False where `enqueue` found a live job with the same `unique_key` and returned that one."""

    @property
    def retry_at(self) -> datetime | None:
        """When a job that was tried before, or is held back by a limit, is tried again."""
        if self.waiting_for is not None:
            return self.waiting_for.until
        if self.status is JobStatus.RATE_LIMITED:
            return self.run_at
        retrying = self.status is JobStatus.PENDING and self.started_at is not None
        return self.run_at if retrying else None

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape that HTTP, the CLI and the dashboard show: camelCase, ISO 8601 in UTC."""
        held = self.waiting_for
        until = None if held is None else iso(held.until)
        return {
            "id": self.id,
            "type": self.type,
            "queue": self.queue,
            "status": self.status.value,
            "priority": self.priority,
            "progress": self.progress,
            "message": self.message,
            "partial": None if self.partial is None else dict(self.partial),
            "result": self.result,
            "error": self.error,
            "errorCode": self.error_code,
            "attempts": self.attempts,
            "maxAttempts": self.max_attempts,
            "createdAt": iso(self.created_at),
            "runAt": iso(self.run_at),
            "startedAt": iso(self.started_at),
            "completedAt": iso(self.completed_at),
            "updatedAt": iso(self.updated_at),
            "retryAt": iso(self.retry_at),
            "waitingFor": None if held is None else {"limit": held.limit, "until": until},
            "position": self.position,
            "etaSeconds": None if self.eta is None else round(self.eta, 1),
            "batchId": self.batch_id,
        }


@frozen(kw_only=True)
class Attempt:
    """One claim of a job, from its history. `number` may repeat after a snooze or a release."""

    number: int
    outcome: str
    worker: str | None
    started_at: datetime
    ended_at: datetime
    error: str | None = None
    error_code: str | None = None
    traceback: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class NewJob:
    """A job to be enqueued, with its options; what `enqueue_many` takes.

    >>> NewJob(type="image_edit", payload={"width": 512}, priority="urgent").type
    'image_edit'
    """

    type: Any
    """The name of a type, or a handler."""
    payload: Any = None
    queue: str | None = None
    priority: int | str | None = None
    run_at: datetime | None = None
    delay: Any = None
    max_attempts: int | None = None
    timeout: Any = ...
    """Seconds, a timedelta, or `None` for no timeout; `...` is the handler's default."""
    expires_at: datetime | None = None
    unique_key: str | None = None
    idempotency_key: str | None = None
    owner: str | None = None
    keep: Any = None
    cost: Mapping[str, int] | None = None
    """Units of limits, by key; a limit that is not named costs what its handler says, or 1."""
    metadata: Mapping[str, Any] | None = None
    webhook: str | None = None
    """The endpoint of `Queue(webhooks=…)` that is told how the job ended."""


@frozen(kw_only=True)
class Page:
    """Some jobs, newest first; `next` is the cursor of the page after this one, if there is one."""

    jobs: tuple[Job, ...]
    next: str | None = None


@frozen(kw_only=True)
class Counts:
    """How many jobs are in each status; a number at `cap` means "that many or more"."""

    cap: int
    by_status: Mapping[JobStatus, int]

    def __getitem__(self, status: str) -> int:
        return self.by_status[JobStatus(status)]


@frozen(kw_only=True)
class WorkerInfo:
    """A worker that is, or lately was, alive."""

    id: str
    label: str
    host: str
    pid: int
    queues: tuple[str, ...]
    types: tuple[str, ...]
    slots: int
    busy: int
    abandoned: int
    started_at: datetime
    seen_at: datetime
    alive: bool
    version: str | None = None
    """The version of jobq that it runs."""


@frozen(kw_only=True)
class Stat:
    """What became of attempts that ended within a minute, or within several."""

    minute: datetime
    """When the (first) minute began."""
    name: str | None = None
    """Of which queue, type or worker, where it was asked by one of them."""
    completed: int = 0
    failed: int = 0
    """Those that failed their job for good."""
    retried: int = 0
    """Those that failed, or whose worker was lost, and whose job goes on."""
    seconds: float = 0.0
    """How long all of these took together."""


@frozen(kw_only=True)
class LimitInfo:
    """A limit as it stands."""

    key: str
    kind: str
    """`rate`, `quota`, `concurrency`, or `key` (one key of a pool: it is open or benched)."""
    description: str
    n: int | None
    used: int | None
    """Units that are not to be had now: of the burst, of the day, or places taken."""
    free: int | None
    blocked_until: datetime | None
    paused: bool
    reason: str | None
    overridden: bool
    """Whether an operator has set its numbers."""
    waiting: int
    """Due jobs that need it, counted up to a thousand for each lane."""
    next_start: datetime | None
    """When a job of cost 1 could start; `None` where that is not known."""
    started: int
    """How many jobs it has let start since its row exists."""
    refused: int
    """How often a provider has refused one all the same."""
    limit: Any = field(default=None, repr=False)
    """Its numbers, as a `RateLimit`, `DailyQuota` or `Concurrency`."""


def instant(value: int | None) -> datetime | None:
    """The datetime of a stored instant, if there is one."""
    return None if value is None else to_datetime(value)


def statuses(value: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Statuses that a caller named, one or several, checked."""
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else tuple(value)
    for name in names:
        if name not in JobStatus._value2member_map_:
            known = ", ".join(JobStatus)
            raise OptionError(f"{name!r} is no status; the statuses are {known}")
    return tuple(str(JobStatus(name).value) for name in names)
