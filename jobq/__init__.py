"""jobq: an embeddable job queue for slow, costly, rate-limited work.

Jobs live in SQLite while you develop and in PostgreSQL in production: the same code, the same
promises.

>>> import jobq
>>> queue = jobq.Queue("sqlite:///jobs.db")
>>> @jobq.handler("image_edit")
... async def image_edit(payload: dict, job: jobq.JobContext) -> dict:
...     return {"url": "…"}
>>> job = queue.enqueue(image_edit, {"prompt": "a red door"})
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobq._batch import Batch, BatchInfo
    from jobq._classify.classifier import classifier, classify
    from jobq._classify.failure import Failure, FailureKind
    from jobq._clock import Clock, SystemClock
    from jobq._config import Bounds
    from jobq._context import JobContext, SyncJobContext
    from jobq._cron import ScheduleInfo
    from jobq._enqueued import Outcome
    from jobq._errors import (
        BackendError,
        BackendUnavailable,
        BatchNotFound,
        ConfigurationError,
        DuplicateJob,
        HandlerError,
        IllegalMove,
        JobNotFound,
        JobqError,
        LeaseLost,
        OptionError,
        OutcomeUnknown,
        OwnerLimitExceeded,
        PayloadError,
        ResultError,
        SchemaError,
        StepChanged,
        StorageError,
        StorageUnavailable,
        UnknownType,
        WaitTimeout,
        WebhookError,
        WorkerFailed,
    )
    from jobq._handler import Handler, Middleware
    from jobq._limits import Concurrency, DailyQuota, KeyPool, RateLimit, TokenBucket
    from jobq._model import (
        MOVES,
        Attempt,
        Counts,
        Job,
        JobStatus,
        LimitInfo,
        Move,
        NewJob,
        Page,
        Stat,
        WaitingFor,
        WorkerInfo,
    )
    from jobq._owners import PerOwner
    from jobq._queue import AsyncQueue, Queue
    from jobq._retry import Backoff, Exponential, Fixed, Retry
    from jobq._routing import Router, cron, handler
    from jobq._signals import Cancel, Permanent, RateLimited, RetryAfter, Snooze, WaitExpired
    from jobq._spend import Budget, BudgetExceeded, SpendTotal, Spent
    from jobq._worker import Worker
    from jobq.observe import Observer
    from jobq.webhooks import Webhook, WebhookInfo

__version__ = "0.1.0"

__all__ = [
    "MOVES",
    "AsyncQueue",
    "Attempt",
    "BackendError",
    "BackendUnavailable",
    "Backoff",
    "Batch",
    "BatchInfo",
    "BatchNotFound",
    "Bounds",
    "Budget",
    "BudgetExceeded",
    "Cancel",
    "Clock",
    "Concurrency",
    "ConfigurationError",
    "Counts",
    "DailyQuota",
    "DuplicateJob",
    "Exponential",
    "Failure",
    "FailureKind",
    "Fixed",
    "Handler",
    "HandlerError",
    "IllegalMove",
    "Job",
    "JobContext",
    "JobNotFound",
    "JobStatus",
    "JobqError",
    "KeyPool",
    "LeaseLost",
    "LimitInfo",
    "Middleware",
    "Move",
    "NewJob",
    "Observer",
    "OptionError",
    "Outcome",
    "OutcomeUnknown",
    "OwnerLimitExceeded",
    "Page",
    "PayloadError",
    "PerOwner",
    "Permanent",
    "Queue",
    "RateLimit",
    "RateLimited",
    "ResultError",
    "Retry",
    "RetryAfter",
    "Router",
    "ScheduleInfo",
    "SchemaError",
    "Snooze",
    "SpendTotal",
    "Spent",
    "Stat",
    "StepChanged",
    "StorageError",
    "StorageUnavailable",
    "SyncJobContext",
    "SystemClock",
    "TokenBucket",
    "UnknownType",
    "WaitExpired",
    "WaitTimeout",
    "WaitingFor",
    "Webhook",
    "WebhookError",
    "WebhookInfo",
    "Worker",
    "WorkerFailed",
    "WorkerInfo",
    "classifier",
    "classify",
    "cron",
    "handler",
]

_LATER = {
    "jobq._batch": "Batch BatchInfo",
    "jobq._classify.classifier": "classifier classify",
    "jobq._classify.failure": "Failure FailureKind",
    "jobq._clock": "Clock SystemClock",
    "jobq._config": "Bounds",
    "jobq._context": "JobContext SyncJobContext",
    "jobq._cron": "ScheduleInfo",
    "jobq._enqueued": "Outcome",
    "jobq._errors": (
        "BackendError BackendUnavailable BatchNotFound ConfigurationError DuplicateJob "
        "HandlerError IllegalMove JobNotFound JobqError LeaseLost OptionError "
        "OutcomeUnknown OwnerLimitExceeded PayloadError ResultError SchemaError StepChanged "
        "StorageError StorageUnavailable UnknownType WaitTimeout WebhookError WorkerFailed"
    ),
    "jobq._handler": "Handler Middleware",
    "jobq._limits": "Concurrency DailyQuota KeyPool RateLimit TokenBucket",
    "jobq._model": (
        "Attempt Counts Job JobStatus LimitInfo MOVES Move NewJob Page Stat WaitingFor WorkerInfo"
    ),
    "jobq._owners": "PerOwner",
    "jobq._queue": "AsyncQueue Queue",
    "jobq._retry": "Backoff Exponential Fixed Retry",
    "jobq._routing": "Router cron handler",
    "jobq._signals": "Cancel Permanent RateLimited RetryAfter Snooze WaitExpired",
    "jobq._spend": "Budget BudgetExceeded SpendTotal Spent",
    "jobq._worker": "Worker",
    "jobq.observe": "Observer",
    "jobq.webhooks": "Webhook WebhookInfo",
}
"""Where the public names are: each is imported when it is first asked for."""
_MODULES = {name: module for module, names in _LATER.items() for name in names.split()}

if not TYPE_CHECKING:  # type checkers would take any name for one of jobq's

    def __getattr__(name: str) -> Any:
        if name == "observe":
            return import_module("jobq.observe")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
