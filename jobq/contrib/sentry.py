"""Failures and traces for Sentry.

`pip install 'jobq[sentry]'`, set Sentry up as usual, and give the queue an observer:

>>> import sentry_sdk
>>> from jobq.contrib.sentry import Sentry
>>> client = sentry_sdk.init(dsn="https://key@sentry.example.com/1")  # doctest: +SKIP
>>> queue = jobq.Queue("sqlite:///jobs.db", observers=[Sentry()])
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import define

from jobq.contrib import missing

try:
    import sentry_sdk
    from sentry_sdk.scope import Scope, use_isolation_scope, use_scope
    from sentry_sdk.tracing import Span
    from sentry_sdk.utils import event_from_exception
except ModuleNotFoundError as error:
    raise missing(error, "sentry") from error

from jobq._masking import mask
from jobq.contrib._failed import is_failure, is_handed_on
from jobq.observe import Attempted, Attempting, Enqueuing, Observer

ORIGIN = "auto.queue.jobq"
TRACE, BAGGAGE = "sentry-trace", "baggage"
"""What a job carries along in its metadata."""
MOST_HELD = 1_000
"""How many failed calls may be held until the outcomes of their jobs are stored."""


@define(eq=False)
class _Failure:
    """What a call raised, and where, until it is known what became of its jobs."""

    error: BaseException
    jobs: set[tuple[str, int]]
    """Their ids and attempts, as long as it is not known."""
    scope: Scope
    isolation_scope: Scope
    told: bool = False


class _Failures:
    """Those that are held, the oldest first."""

    def __init__(self) -> None:
        self._by_job: dict[tuple[str, int], _Failure] = {}
        self._held: dict[_Failure, None] = {}

    def hold(self, failure: _Failure) -> None:
        for job in failure.jobs:  # an attempt that was given back has its number again
            self.take(*job)
        self._held[failure] = None
        self._by_job.update(dict.fromkeys(failure.jobs, failure))
        if len(self._held) > MOST_HELD:
            for job in list(next(iter(self._held)).jobs):
                self.take(*job)

    def take(self, job_id: str, attempt: int) -> _Failure | None:
        """The failure of an attempt, which is not held for it any more."""
        failure = self._by_job.pop((job_id, attempt), None)
        if failure is not None:
            failure.jobs.discard((job_id, attempt))
            if not failure.jobs:
                self._held.pop(failure, None)
        return failure

    def forget_first(self, job_id: str) -> None:
        """Nobody will hear what became of a job's first attempt among these."""
        attempts = [attempt for id, attempt in list(self._by_job) if id == job_id]
        if attempts:
            self.take(job_id, min(attempts))


class Sentry(Observer):
    """An observer that tells Sentry of jobs that failed, and traces them.

    A failure is told of when its job has ended with it, status `failed`: not one that is tried
    again, unless `every_attempt` asks for these as well. Its event is tagged with the job's type
    and queue and `error_code`, and says which job and which attempt it was. What jobq's own
    frames hold, payloads among it, is left out of it; the local variables of your functions are
    sent as always (`include_local_variables`).

    Where the app has tracing on, enqueuing is a span `queue.publish` and a call of a handler a
    transaction `queue.process`, which continues the trace of whoever enqueued the job.
    """

    def __init__(self, *, every_attempt: bool = False) -> None:
        self._every_attempt = every_attempt
        self._failures = _Failures()

    @contextmanager
    def enqueuing(self, jobs: Sequence[Enqueuing]) -> Iterator[None]:
        """A span around the storing of jobs, whose trace they carry."""
        if not jobs or not sentry_sdk.is_initialized():
            yield
            return
        name = jobs[0].type if len(jobs) == 1 else f"{len(jobs)} jobs"
        with sentry_sdk.start_span(op="queue.publish", name=name, origin=ORIGIN) as span:
            _describe(span, jobs)
            trace = {TRACE: sentry_sdk.get_traceparent(), BAGGAGE: sentry_sdk.get_baggage()}
            for job in jobs:
                _carry(job.carries, trace)
            yield
            if len(jobs) == 1:
                span.set_data("messaging.message.id", jobs[0].id)

    @contextmanager
    def attempting(self, attempts: Sequence[Attempting]) -> Iterator[None]:
        """A scope and a transaction of its own around the call of a handler."""
        if not sentry_sdk.is_initialized():
            yield
            return
        raised: BaseException | None = None
        with _own_scope(attempts) as isolation_scope, _transaction(attempts) as span:
            try:
                yield
            except BaseException as error:  # noqa: BLE001  raised again, past the transaction:
                raised = error  # it would take a job that only parks for a failure
            if raised is not None and not is_handed_on(raised):
                if is_failure(raised):
                    span.set_status("internal_error")
                self._hold(raised, attempts, isolation_scope)
        if raised is not None:
            try:
                raise raised
            finally:
                raised = None  # it knows this frame

    def _hold(
        self, error: BaseException, attempts: Sequence[Attempting], isolation_scope: Scope
    ) -> None:
        jobs = {(attempt.job_id, attempt.attempt) for attempt in attempts}
        scope = sentry_sdk.get_current_scope().fork()
        self._failures.hold(_Failure(error, jobs, scope, isolation_scope))

    def attempted(self, attempt: Attempted) -> None:
        """Tell of the failure that the job has ended with."""
        failure = self._failures.take(attempt.job_id, attempt.attempt)
        if failure is None:
            if attempt.status == "failed":
                _tell_without_error(attempt)
        elif not failure.told and (attempt.status == "failed" or self._tells_of(failure, attempt)):
            failure.told = True  # once, where a call for several jobs has failed
            _tell(failure, attempt)

    def _tells_of(self, failure: _Failure, attempt: Attempted) -> bool:
        return self._every_attempt and attempt.outcome == "retried" and is_failure(failure.error)

    def lease_lost(self, job_id: str, type: str) -> None:  # noqa: ARG002
        """What became of the job is for its new owner to tell."""
        self._failures.forget_first(job_id)


@contextmanager
def _own_scope(attempts: Sequence[Attempting]) -> Iterator[Scope]:
    first = attempts[0]
    about: dict[str, Any] = {"worker": first.worker}
    if len(attempts) == 1:
        about |= {"job": first.job_id, "attempt": first.attempt}
    else:
        about |= {"jobs": [attempt.job_id for attempt in attempts]}
    with sentry_sdk.isolation_scope() as scope:
        scope.clear_breadcrumbs()
        scope.set_user(None)  # of a request that jobs are run beside
        _name_job(scope, first, about)
        yield scope


def _name_job(scope: Scope, job: Attempting | Attempted, about: Mapping[str, Any]) -> None:
    scope.set_tag("jobq.type", job.type)
    scope.set_tag("jobq.queue", job.queue)
    scope.set_context("jobq", dict(about))


def _transaction(attempts: Sequence[Attempting]) -> Span:
    first = attempts[0]
    alone = len(attempts) == 1
    transaction = sentry_sdk.start_transaction(
        sentry_sdk.continue_trace(
            _carried(first.metadata) if alone else {},
            op="queue.process",
            name=first.type,
            source="task",
            origin=ORIGIN,
        )
    )
    transaction.set_status("ok")
    _describe(transaction, attempts)
    if alone:
        transaction.set_data("messaging.message.id", first.job_id)
        transaction.set_data("messaging.message.retry.count", first.attempt - 1)
        transaction.set_data("messaging.message.receive.latency", first.waited * 1000)
    return transaction


def _describe(span: Span, jobs: Sequence[Enqueuing] | Sequence[Attempting]) -> None:
    span.set_data("messaging.system", "jobq")
    queues = {job.queue for job in jobs}
    if len(queues) == 1:
        span.set_data("messaging.destination.name", queues.pop())
    if len(jobs) > 1:
        span.set_data("messaging.batch.message_count", len(jobs))


def _carry(carries: dict[str, str], trace: Mapping[str, str | None]) -> None:
    """Give a job the trace, beside what OpenTelemetry may have it carry by the same name."""
    for name, value in trace.items():
        if value:
            carries[name] = ",".join(filter(None, (carries.get(name), value)))


def _carried(metadata: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: metadata.get(name) for name in (TRACE, BAGGAGE)}
    return {name: value for name, value in texts.items() if isinstance(value, str)}


def _tell(failure: _Failure, attempt: Attempted) -> None:
    options = sentry_sdk.get_client().options
    mechanism = {"type": "jobq", "handled": False}
    event, hint = event_from_exception(failure.error, options, mechanism)
    for told in event["exception"]["values"]:
        told["value"] = mask(told.get("value") or "")
        _leave_out_ours(told)
    with use_isolation_scope(failure.isolation_scope), use_scope(failure.scope) as scope:
        scope.set_tag("jobq.error_code", attempt.error_code)
        if isinstance(failure.error, CancelledError):  # by its timeout: it says nothing itself
            event["exception"]["values"][-1]["value"] = _reason(attempt)
            scope.fingerprint = _fingerprint(attempt)
        sentry_sdk.capture_event(event, hint)


def _leave_out_ours(told: dict[str, Any]) -> None:
    """The local variables of jobq's own frames: payloads, and all that a worker knows."""
    for frame in (told.get("stacktrace") or {}).get("frames", ()):
        if str(frame.get("module")).partition(".")[0] == "jobq":
            frame.pop("vars", None)


def _tell_without_error(attempt: Attempted) -> None:
    """Of a job that failed, though no handler raised anything: it was never called, say."""
    about = {"job": attempt.job_id, "attempt": attempt.attempt}
    with sentry_sdk.isolation_scope() as scope:
        _name_job(scope, attempt, about)
        scope.set_tag("jobq.error_code", attempt.error_code)
        scope.fingerprint = _fingerprint(attempt)
        sentry_sdk.capture_message(f"{attempt.type} failed: {_reason(attempt)}", "error")


def _reason(attempt: Attempted) -> str:
    return mask(attempt.error or "") or str(attempt.error_code)


def _fingerprint(attempt: Attempted) -> list[str]:
    return ["jobq", attempt.type, str(attempt.error_code)]


__all__ = ["Sentry"]
