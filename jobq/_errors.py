"""The exceptions that jobq raises.

    JobqError
    ├── ConfigurationError (ValueError)   wrong options; raised where they are declared
    │   └── HandlerError (TypeError)      a function that cannot be a handler
    ├── OptionError (ValueError)          a bad option of one call
    ├── UnknownType (LookupError)         no handler for a type, where types are strict
    ├── PayloadError (ValueError)         a payload that does not fit; `type`, `path`, `reason`
    ├── ResultError (ValueError)          a handler's result that cannot be stored
    ├── JobNotFound (LookupError)         no job has this id
    ├── BatchNotFound (LookupError)       no batch has this id
    ├── IllegalMove                       the job's status does not allow the verb
    ├── DuplicateJob                      another job holds the unique or idempotency key
    ├── OwnerLimitExceeded                its owner has as many jobs waiting as he may
    ├── WorkerFailed                      a worker had to end: its handlers hang, or a part broke
    ├── StepChanged (ValueError)          a step was recorded with other arguments
    ├── LeaseLost                         the job is no longer this worker's
    ├── WaitTimeout (TimeoutError)        the job was not finished in time
    ├── WebhookError (ValueError)         a webhook message is not to be trusted; `code`
    ├── StorageError                      a storage refused an artifact; trying again is no use
    │   └── StorageUnavailable            it could not be reached, or had no room
    ├── BackendError                      the database refused; the driver's error is the cause
    │   └── BackendUnavailable            it could not be reached, or did not answer in time
    └── SchemaError                       the tables are missing, too old or too new

Attributes are for machines, the text is for people: it names the value and the fix.
"""

from __future__ import annotations


class JobqError(Exception):
    """The base of everything that jobq raises on purpose."""


class ConfigurationError(JobqError, ValueError):
    """An option is wrong. Raised when it is declared, not when it is used."""


class HandlerError(ConfigurationError, TypeError):
    """A function cannot be a handler as it is written."""


class OptionError(JobqError, ValueError):
    """An option of a call (`priority=`, `run_at=`, …) has a value that cannot be used."""


class UnknownType(JobqError, LookupError):
    """No handler is registered for a type, and the queue was told `strict_types=True`."""

    def __init__(self, type: str, known: list[str]) -> None:
        self.type = type
        self.known = known
        names = ", ".join(repr(name) for name in known) or "none"
        super().__init__(
            f"no handler is registered for type {type!r} (registered: {names}). Import the module "
            f"that declares it, or drop strict_types=True to leave the check to the worker."
        )


class PayloadError(JobqError, ValueError):
    """A payload does not fit its type, or is not JSON.

    `path` locates the value inside the payload, as in `$.images[2].width`.
    """

    def __init__(self, reason: str, *, path: str = "$", type: str | None = None) -> None:
        self.reason = reason
        self.path = path
        self.type = type
        where = f"payload of {type!r}" if type else "payload"
        super().__init__(f"{where}: {reason} (at {path})")


class ResultError(JobqError, ValueError):
    """A handler's result cannot be stored; `path` locates the value inside the result."""

    def __init__(self, reason: str, *, path: str = "$") -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"result: {reason} (at {path})")


class JobNotFound(JobqError, LookupError):
    """No job has this id: it never existed, was deleted, or was pruned after its retention."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"no job has the id {job_id!r}; finished jobs are pruned after `keep`")


class BatchNotFound(JobqError, LookupError):
    """No batch has this id: it never existed, or ended so long ago that it was pruned."""

    def __init__(self, batch_id: str) -> None:
        self.batch_id = batch_id
        super().__init__(f"no batch has the id {batch_id!r}; ended ones are pruned after `keep`")


class IllegalMove(JobqError):
    """The job's status does not allow what was asked; see `jobq.MOVES`."""

    def __init__(self, job_id: str, status: str, verb: str, allowed: list[str]) -> None:
        self.job_id = job_id
        self.status = status
        self.verb = verb
        self.allowed = allowed
        may = ", ".join(allowed)
        super().__init__(
            f"cannot {verb} job {job_id}: it is {str(status)!r}, and only {may} jobs can"
        )


class DuplicateJob(JobqError):
    """A live job holds the unique key, or any job the idempotency key, with another payload."""

    def __init__(
        self, type: str, unique_key: str, existing_id: str | None, *, what: str = "unique_key"
    ) -> None:
        self.type = type
        self.unique_key = unique_key
        self.existing_id = existing_id
        if what == "idempotency_key":
            super().__init__(
                f"the {what} {unique_key!r} was used for another job, {existing_id}: a key belongs "
                f"to one type and payload; use a new key for a new job"
            )
            return
        holder = f"job {existing_id}" if existing_id else "another live job"
        super().__init__(
            f"{holder} of type {type!r} holds the unique_key {unique_key!r}; wait until it is "
            f"finished, cancel it, or use another key"
        )


class StepChanged(JobqError, ValueError):
    """A step is recorded, but was called with other arguments: its result may not be right."""

    def __init__(self, job_id: str, name: str, version: int) -> None:
        self.job_id = job_id
        self.name = name
        self.version = version
        super().__init__(
            f"step {name!r} of job {job_id} is recorded with other arguments: give a step that is "
            f"to be done anew version={version + 1}, and steps that differ different names"
        )


class OwnerLimitExceeded(JobqError):
    """An owner has as many jobs waiting as `PerOwner(queued=…)` allows; try again later.

    `type` is that of the jobs that were counted; `None` is all.
    """

    def __init__(self, owner: str, limit: int, type: str | None = None) -> None:
        self.owner = owner
        self.limit = limit
        self.type = type
        jobs = "jobs" if type is None else f"jobs of type {type!r}"
        super().__init__(
            f"{limit} {jobs} of owner {owner!r} are waiting, as many as may; enqueue more when "
            f"some have started, or raise PerOwner(queued=…)"
        )


class LeaseLost(JobqError):
    """The job is no longer held by this claim: its lease ended, or someone moved it.

    Raised inside a handler it means: stop, another attempt may be running already.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id} is no longer held by this claim; its write was refused")


class WorkerFailed(JobqError):
    """A worker had to end: every slot is taken by a handler that hangs, or a part of it broke."""


class WaitTimeout(JobqError, TimeoutError):
    """`wait` gave up; the job goes on."""

    def __init__(self, job_id: str, status: str, timeout: float) -> None:
        self.job_id = job_id
        self.status = status
        super().__init__(f"job {job_id} is still {str(status)!r} after {timeout:g} s")


class WebhookError(JobqError, ValueError):
    """A webhook message that came in is not to be trusted.

    `code` is `missing_header`, `bad_id`, `bad_timestamp`, `too_old`, `too_new` or `bad_signature`.
    """

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        super().__init__(reason)


class StorageError(JobqError):
    """Where artifacts are kept refused one: no such bucket, no permission. It fails the job."""


class StorageUnavailable(StorageError):
    """Where artifacts are kept could not be reached, or had no room: another attempt may work."""


class BackendError(JobqError):
    """The database refused a statement; `__cause__` is the driver's error."""


class UniqueViolation(BackendError):
    """A unique index refused a row; never leaves jobq."""


class BackendUnavailable(BackendError):
    """The database could not be reached, or did not answer within the bound.

    It is an `OutcomeUnknown` where it is open whether what was asked has been done.
    """


class OutcomeUnknown(BackendUnavailable):
    """The connection was lost during a write: it may have been done, or not.

    What has a `unique_key` can be enqueued once more, and is stored once.
    """


class SchemaError(JobqError):
    """jobq's tables are missing, older than this version needs, or too new for it."""
