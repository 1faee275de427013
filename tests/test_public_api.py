"""The public names, and what importing them costs."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import jobq
import jobq.artifacts
import jobq.testing

NAMES = [
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
    "classifier",
    "classify",
    "Clock",
    "Concurrency",
    "ConfigurationError",
    "Counts",
    "cron",
    "DailyQuota",
    "DuplicateJob",
    "Exponential",
    "Failure",
    "FailureKind",
    "Fixed",
    "Handler",
    "handler",
    "HandlerError",
    "IllegalMove",
    "Job",
    "JobContext",
    "JobNotFound",
    "JobqError",
    "JobStatus",
    "KeyPool",
    "LeaseLost",
    "LimitInfo",
    "Middleware",
    "Move",
    "MOVES",
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
    "StepChanged",
    "SpendTotal",
    "Spent",
    "Stat",
    "StorageError",
    "StorageUnavailable",
    "SyncJobContext",
    "SystemClock",
    "TokenBucket",
    "UnknownType",
    "WaitingFor",
    "WaitExpired",
    "WaitTimeout",
    "Webhook",
    "WebhookError",
    "WebhookInfo",
    "Worker",
    "WorkerFailed",
    "WorkerInfo",
]

ARTIFACTS = [
    "Artifact",
    "FileStorage",
    "S3Storage",
    "Storage",
    "StorageError",
    "StorageUnavailable",
    "Sweep",
    "storage_of",
]

TESTING = [
    "FrozenClock",
    "adrain",
    "aperform",
    "assert_enqueued",
    "assert_not_enqueued",
    "drain",
    "perform",
]

HEAVY = {
    "aiosqlite",
    "boto3",
    "django",
    "fastapi",
    "httpx",
    "psycopg",
    "psycopg_pool",
    "pydantic",
    "sqlalchemy",
    "sqlite3",
}


@pytest.mark.parametrize(
    "module, names",
    [(jobq, NAMES), (jobq.artifacts, ARTIFACTS), (jobq.testing, TESTING)],
    ids=["jobq", "jobq.artifacts", "jobq.testing"],
)
def test_the_public_names_are_these_and_each_is_there(module, names):
    assert sorted(module.__all__) == sorted(names)
    assert all(hasattr(module, name) for name in names)


def test_every_public_class_and_function_is_explained():
    public = [getattr(module, name) for module in (jobq, jobq.testing) for name in module.__all__]
    named = [one for one in public if inspect.isclass(one) or inspect.isroutine(one)]
    unexplained = [one for one in named if not one.__doc__]
    assert unexplained == []


def test_the_version_is_there():
    assert jobq.__version__.count(".") == 2


@pytest.mark.parametrize("module", ["jobq", "jobq.testing", "jobq.testing.plugin", "jobq.cli"])
def test_importing_loads_no_database_and_no_framework(module):
    assert loaded_by(f"import {module}") & HEAVY == set()


def test_making_a_queue_loads_no_database_either():
    made = "jobq.Queue('postgresql://h/d'); jobq.AsyncQueue('sqlite:///jobs.db')"
    assert loaded_by(f"import jobq; {made}") & HEAVY == set()


@pytest.mark.parametrize("code", ["import jobq", "import jobq; jobq.Queue('sqlite:///jobs.db')"])
def test_enqueuing_loads_nothing_that_only_workers_need(code):
    later = {"anyio", "cronsim", "asyncio", "email", "hashlib", "ssl", "zoneinfo"}
    assert loaded_by(code) & later == set()


def test_names_that_are_loaded_later_are_listed_and_unknown_ones_refused():
    assert "Worker" in dir(jobq)
    with pytest.raises(AttributeError, match="'jobq' has no attribute 'worker'"):
        _ = jobq.worker


def loaded_by(code):
    """The top-level modules that a fresh interpreter has after running this."""
    told = f"{code}; import json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", told],
        cwd=Path(jobq.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_importing_jobq_loads_none_of_its_parts():
    code = "import sys, jobq; print([name for name in sys.modules if name.startswith('jobq.')])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
