"""What an attempt came to, and what becomes of the job: `decide` is a pure function."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from attrs import evolve, field, frozen

from jobq._clock import SECOND, from_datetime, to_span
from jobq._model import JobStatus
from jobq._retry import Retry

CRASHES_ALLOWED = 3


class Signal(Exception):
    """Raised by a handler to say what becomes of its job."""


def _wait(value: float | timedelta | datetime, name: str) -> tuple[int | None, int | None]:
    """(microseconds from now, instant): one of the two."""
    if isinstance(value, datetime):
        return None, from_datetime(value, name=name)
    return max(0, to_span(value, name=name)), None


class RetryAfter(Signal):
    """Try again later; this attempt counts.

    `when` is seconds, a timedelta or an aware datetime.

    >>> raise RetryAfter(30, "the upload is still being scanned")  # doctest: +SKIP
    """

    def __init__(self, when: float | timedelta | datetime, reason: str = "") -> None:
        self.delay, self.run_at = _wait(when, "RetryAfter")
        self.reason = reason
        super().__init__(reason or f"retry after {when}")


class Snooze(Signal):
    """Look again later; the attempt is given back, and the snooze counted.

    >>> raise Snooze(timedelta(minutes=5))  # doctest: +SKIP
    """

    def __init__(self, when: float | timedelta | datetime, reason: str = "") -> None:
        self.delay, self.run_at = _wait(when, "Snooze")
        self.reason = reason
        super().__init__(reason or f"snooze for {when}")


class Permanent(Signal):
    """Fail the job at once, whatever attempts it has left.

    >>> raise Permanent("unsafe_prompt", "the provider refused the prompt")  # doctest: +SKIP
    """

    def __init__(self, code: str, message: str = "") -> None:
        self.code = code
        self.message = message or code
        super().__init__(self.message)


class Cancel(Signal):
    """End the job as cancelled: there is nothing left to do.

    >>> raise Cancel("the photo was deleted")  # doctest: +SKIP
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "cancelled by its handler")


@frozen
class Succeeded:
    """The handler returned; `result` is JSON text."""

    result: str
    committed: bool = False
    """Whether the handler wrote this outcome itself, in its own transaction."""


@frozen
class Raised:
    """The handler raised; `signal` tells whether it was one of jobq's own."""

    exception: BaseException
    error: str
    code: str
    traceback: str | None = None


@frozen
class Refused:
    """Fails without another attempt: an invalid payload, an unstorable result, an expired job."""

    code: str
    error: str
    started: bool = True
    """Whether the attempt counts."""


@frozen
class Released:
    """The worker gave the job back before its handler ended."""

    reason: str


@frozen
class Stopped:
    """The handler ended because its job had been asked to cancel."""

    reason: str


@frozen
class Crashed:
    """The worker's lease ended without an outcome."""

    error: str


Outcome = Succeeded | Raised | Refused | Released | Stopped | Crashed


@frozen(kw_only=True)
class Standing:
    """What `decide` needs to know of the job: its counters, as the running attempt has them."""

    attempts: int
    max_attempts: int
    crash_count: int = 0


@frozen(kw_only=True)
class Transition:
    """The writes that end an attempt. `delay` in microseconds, or `run_at` as an instant."""

    status: JobStatus
    outcome: str
    """The word for it in the history."""
    delay: int = 0
    run_at: int | None = None
    result: str | None = None
    error: str | None = None
    error_code: str | None = None
    traceback: str | None = field(default=None, repr=False)
    given_back: int = 0
    released: int = 0
    snoozed: int = 0
    crashed: int = 0


def decide(outcome: Outcome, job: Standing, policy: Retry, rand: float) -> Transition:
    """What becomes of a job after an attempt. `rand` in [0, 1) is the backoff's jitter."""
    match outcome:
        case Succeeded(result):
            return Transition(status=JobStatus.COMPLETED, outcome="completed", result=result)
        case Refused(code, error, started):
            return _failed(error, code, given_back=0 if started else 1)
        case Released(reason):
            return Transition(
                status=JobStatus.PENDING,
                outcome="released",
                error=reason,
                given_back=1,
                released=1,
            )
        case Stopped(reason):
            return Transition(
                status=JobStatus.CANCELLED,
                outcome="cancelled",
                error=reason,
                error_code="cancelled",
            )
        case Crashed(error):
            return _after_crash(error, job)
        case Raised():
            return evolve(_after_exception(outcome, job, policy, rand), traceback=outcome.traceback)
        case _:
            assert_never(outcome)


def _failed(error: str, code: str, *, given_back: int = 0, crashed: int = 0) -> Transition:
    return Transition(
        status=JobStatus.FAILED,
        outcome="failed",
        error=error,
        error_code=code,
        given_back=given_back,
        crashed=crashed,
    )


def _after_crash(error: str, job: Standing) -> Transition:
    if job.crash_count + 1 >= CRASHES_ALLOWED:
        return _failed(error, "crash_loop", crashed=1)
    if job.attempts >= job.max_attempts:
        return _failed(error, "crashed", crashed=1)
    return Transition(
        status=JobStatus.PENDING, outcome="crashed", error=error, error_code="crashed", crashed=1
    )


def _after_exception(raised: Raised, job: Standing, policy: Retry, rand: float) -> Transition:
    exception, error, code = raised.exception, raised.error, raised.code
    match exception:
        case Permanent():
            return _failed(error, code)
        case Cancel():
            return Transition(
                status=JobStatus.CANCELLED, outcome="cancelled", error=error, error_code="cancelled"
            )
        case Snooze():
            return Transition(
                status=JobStatus.PENDING,
                outcome="snoozed",
                error=error,
                delay=exception.delay or 0,
                run_at=exception.run_at,
                given_back=1,
                snoozed=1,
            )
    if job.attempts >= job.max_attempts:
        return _failed(error, code)
    retry = Transition(status=JobStatus.PENDING, outcome="retried", error=error, error_code=code)
    if isinstance(exception, RetryAfter):
        return evolve(retry, delay=exception.delay or 0, run_at=exception.run_at)
    backoff = policy.backoff_for(type(exception))
    if backoff is None:
        return _failed(error, code)
    return evolve(retry, delay=round(backoff.delay(max(1, job.attempts), rand) * SECOND))
