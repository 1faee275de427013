"""What an attempt came to, and what becomes of the job: `decide` is a pure function."""

from __future__ import annotations

from typing import assert_never

from attrs import evolve, field, frozen

from jobq._classify.failure import Failure, FailureKind
from jobq._clock import SECOND
from jobq._model import JobStatus
from jobq._retry import Exponential, Retry
from jobq._signals import Cancel, Permanent, RateLimited, RetryAfter, Snooze

CRASHES_ALLOWED = 3
OVERLOADS_FORGIVEN = 20
"""How many refusals of an overloaded provider cost no attempt."""
OVERRUNS_ALLOWED = 3
"""How often a job may be longer than the time budget of whoever drives it."""
UNSENT_FORGIVEN = 5
"""How many failures to connect cost no attempt."""
VERIFICATIONS = 3
"""How often a verifier is asked again after the last attempt, where it cannot tell."""
POLLED = "polled"
"""The outcome of an attempt that only looked at what its job waits for."""
LEAST_REST = SECOND
EXHAUSTED_REST = 3600 * SECOND
"""How long to rest where waiting does not help, unless someone pays."""
OVERLOAD_REST = Exponential(base=5.0, cap=60.0, jitter="equal")
REFUSAL_REST = Exponential(base=2.0, cap=60.0, jitter="equal")


@frozen
class Succeeded:
    """The handler returned; `result` is JSON text."""

    result: str
    committed: bool = False
    """Whether the handler wrote this outcome itself, in its own transaction."""


@frozen
class Closing:
    """A limit that is closed by what a provider said: for `delay`; to be exact, until `until`."""

    key: str
    reason: str
    delay: int = 0
    until: int | None = None


@frozen
class Raised:
    """The handler raised; `signal` tells whether it was one of jobq's own."""

    exception: BaseException
    error: str
    code: str
    traceback: str | None = None
    failure: Failure | None = None
    """What a provider's exception means, see `classify`."""
    closes: tuple[Closing, ...] = ()
    """The limits that it closes."""


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
    entered: bool = False
    """Whether the handler had begun: then it may have done its work, or a part of it."""
    waited: bool = False
    """Whether it only waited for a slot: that counts for nothing."""
    overran: bool = False
    """Whether it was cut off because a time budget was used up."""


@frozen
class Stopped:
    """The handler ended because its job had been asked to cancel."""

    reason: str


@frozen
class Parked:
    """The handler waits for something outside, without a slot: until `run_at` at the latest.

    Spans and instants in microseconds, `lane` and `keys` as they are stored.
    """

    run_at: int
    waits: tuple[str, ...] = ()
    """The names of what it waits for."""
    cancels: bool = False
    """Whether its handler can cancel that."""
    polled: bool = False
    """Whether all that was done is to look, in vain."""
    lane: str | None = None
    """What the return needs of the job's limits, where it has some."""
    keys: str | None = None


@frozen
class Crashed:
    """The worker's lease ended without an outcome."""

    error: str


Outcome = Succeeded | Raised | Refused | Released | Stopped | Parked | Crashed


@frozen(kw_only=True)
class Standing:
    """What `decide` needs to know of the job: its counters, as the running attempt has them."""

    attempts: int
    max_attempts: int
    crash_count: int = 0
    rate_limited_count: int = 0
    released_count: int = 0
    overrun_count: int = 0
    started_at: int = 0
    limited_for: int = 0
    """For how long providers have been refusing it, in microseconds."""
    on_ambiguous: str | None = None
    """`None` is to retry."""
    unverified: bool = False
    """Whether an earlier attempt may have done the work, and the verifier has not said yet."""


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
    overran: int = 0
    snoozed: int = 0
    crashed: int = 0
    rate_limited: int = 0
    ambiguous: int = 0
    closes: tuple[Closing, ...] = ()
    """The limits to close along with it."""
    waits: tuple[str, ...] = ()
    """The names of what it waits for."""
    cancels: bool = False
    lane: str | None = None
    """What its return from waiting needs of its limits, where it has some."""
    keys: str | None = None


LONGER_THAN_BUDGET = (
    "it was cut off so often that it will not fit; raise the time budget (JOBQ_TIME_BUDGET) if the "
    "platform allows, run `jobq worker` for jobs this long, or split the work"
)


def decide(outcome: Outcome, job: Standing, policy: Retry, rand: float) -> Transition:
    """What becomes of a job after an attempt. `rand` in [0, 1) is the backoff's jitter."""
    end = _decide(outcome, job, policy, rand)
    return evolve(end, ambiguous=1) if job.unverified and not end.status.finished else end


def _decide(outcome: Outcome, job: Standing, policy: Retry, rand: float) -> Transition:
    match outcome:
        case Succeeded(result):
            return completed(result)
        case Refused(code, error, started):
            return _failed(error, code, given_back=0 if started else 1)
        case Released(reason, entered, waited, overran):
            if entered and job.on_ambiguous == "fail":
                return _failed(reason, "ambiguous")
            if overran and job.overrun_count + 1 >= OVERRUNS_ALLOWED:
                return _failed(f"{reason}: {LONGER_THAN_BUDGET}", "longer_than_budget")
            return Transition(
                status=JobStatus.PENDING,
                outcome="released",
                error=reason,
                given_back=1,
                released=int(not waited),
                overran=int(overran),
                ambiguous=int(entered),
            )
        case Stopped(reason):
            return Transition(
                status=JobStatus.CANCELLED,
                outcome="cancelled",
                error=reason,
                error_code="cancelled",
            )
        case Parked():
            return _parked(outcome)
        case Crashed(error):
            return _after_crash(error, job)
        case Raised():
            end = _after_exception(outcome, job, policy, rand)
            return evolve(end, traceback=outcome.traceback, closes=outcome.closes)
        case _:
            assert_never(outcome)


def _parked(parked: Parked) -> Transition:
    return Transition(
        status=JobStatus.WAITING,
        outcome=POLLED if parked.polled else "waiting",
        run_at=parked.run_at,
        given_back=1,
        waits=parked.waits,
        cancels=parked.cancels,
        lane=parked.lane,
        keys=parked.keys,
    )


def completed(result: str) -> Transition:
    """The end of an attempt that succeeded, whatever came before."""
    return _NOTHING if result == "null" else _completed(result)


def _completed(result: str) -> Transition:
    return Transition(status=JobStatus.COMPLETED, outcome="completed", result=result)


_NOTHING = _completed("null")


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
    if job.on_ambiguous == "fail":
        return _failed(error, "ambiguous_crash", crashed=1)
    if job.attempts >= job.max_attempts and job.on_ambiguous != "verify":
        return _failed(error, "crashed", crashed=1)
    return Transition(
        status=JobStatus.PENDING,
        outcome="crashed",
        error=error,
        error_code="crashed",
        crashed=1,
        ambiguous=1,
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
        case RateLimited():
            refused = _rate_limited(raised, job, policy, rand, exception.delay)
            by_limit = bool(raised.closes) or refused.status is not JobStatus.RATE_LIMITED
            if by_limit or exception.run_at is None:
                return refused
            rest = _rest(exception.run_at - job.started_at, job, policy, rand)
            return evolve(refused, delay=0, run_at=job.started_at + rest)
        case RetryAfter() if job.attempts < job.max_attempts:
            retry = _retried(error, code, 0)
            return evolve(retry, delay=exception.delay or 0, run_at=exception.run_at)
    if raised.failure is not None and not policy.has_rule_for(type(exception)):
        return _after_failure(raised, raised.failure, job, policy, rand)
    return _by_policy(raised, job, policy, rand)


def _retried(error: str, code: str, delay: int) -> Transition:
    return Transition(
        status=JobStatus.PENDING, outcome="retried", error=error, error_code=code, delay=delay
    )


def _by_policy(raised: Raised, job: Standing, policy: Retry, rand: float) -> Transition:
    backoff = policy.backoff_for(type(raised.exception))
    if job.attempts >= job.max_attempts or backoff is None:
        return _failed(raised.error, raised.code)
    delay = round(backoff.delay(max(1, job.attempts), rand) * SECOND)
    return _retried(raised.error, raised.code, delay)


def _after_failure(
    raised: Raised, failure: Failure, job: Standing, policy: Retry, rand: float
) -> Transition:
    """What a provider's failure comes to, by its kind."""
    code = failure.code or raised.code
    wait = None if failure.retry_after is None else round(failure.retry_after * SECOND)
    known = evolve(raised, code=code)
    match failure.kind:
        case FailureKind.RATE_LIMITED:
            return _rate_limited(known, job, policy, rand, wait)
        case FailureKind.QUOTA_EXHAUSTED:
            return _rate_limited(known, job, policy, rand, max(wait or 0, EXHAUSTED_REST))
        case FailureKind.PERMANENT if failure.credentials and raised.closes:
            return _rate_limited(known, job, policy, rand, 0)  # another key may do
        case FailureKind.PERMANENT:
            return _failed(raised.error, code)
        case FailureKind.OVERLOADED if job.rate_limited_count < OVERLOADS_FORGIVEN:
            rest = OVERLOAD_REST.delay(job.rate_limited_count + 1, rand)
            delay = max(wait or 0, round(rest * SECOND))
            return _rate_limited(evolve(known, closes=()), job, policy, rand, delay)
        case FailureKind.TRANSIENT_UNSENT if job.released_count < UNSENT_FORGIVEN:
            delay = round(policy.backoff.delay(job.released_count + 1, rand) * SECOND)
            retry = _retried(raised.error, code, max(wait or 0, delay))
            return evolve(retry, given_back=1, released=1)
        case FailureKind.AMBIGUOUS if job.on_ambiguous == "fail":
            return _failed(raised.error, "ambiguous")
        case FailureKind.AMBIGUOUS if job.on_ambiguous == "verify":
            if job.attempts >= job.max_attempts + VERIFICATIONS:
                return _failed(raised.error, "ambiguous")
            delay = round(policy.backoff.delay(max(1, job.attempts), rand) * SECOND)
            return evolve(_retried(raised.error, code, max(wait or 0, delay)), ambiguous=1)
    end = _by_policy(known, job, policy, rand)
    return end if end.status.finished else evolve(end, delay=max(wait or 0, end.delay))


def _rate_limited(
    raised: Raised, job: Standing, policy: Retry, rand: float, delay: int | None
) -> Transition:
    """The attempt is given back; where limits are closed, they alone hold the job."""
    if job.limited_for >= round(policy.max_rate_limit_wait * SECOND):
        reason = f"refused for {job.limited_for / SECOND:.0f} s: {raised.error}"
        return _failed(reason, "rate_limit_timeout", given_back=1)
    if delay is None:
        delay = refusal_rest(job.rate_limited_count, rand)
    return Transition(
        status=JobStatus.RATE_LIMITED,
        outcome="rate_limited",
        error=raised.error,
        error_code=raised.code,
        delay=0 if raised.closes else _rest(delay, job, policy, rand),
        given_back=1,
        rate_limited=1,
    )


def _rest(asked: int, job: Standing, policy: Retry, rand: float) -> int:
    """Not all jobs at once, no loop, and no longer than refusals are borne."""
    left = round(policy.max_rate_limit_wait * SECOND) - job.limited_for
    return max(LEAST_REST, min(left, round(asked * (1 + rand / 10))))


def refusal_rest(refusals: int, rand: float) -> int:
    """How long to rest after a refusal that names no time, in microseconds."""
    return round(REFUSAL_REST.delay(refusals + 1, rand) * SECOND)
