"""Traces and metrics for OpenTelemetry, by its conventions for messaging.

`pip install 'jobq[otel]'`, and give the queue an observer:

>>> from jobq.contrib.otel import OpenTelemetry
>>> queue = jobq.Queue("sqlite:///jobs.db", observers=[OpenTelemetry()])

Only the API is needed here; what becomes of spans and metrics is set up in the app, as usual.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from jobq.contrib import missing

try:
    from opentelemetry import metrics, propagate, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider
except ModuleNotFoundError as error:
    raise missing(error, "otel") from error

from jobq._masking import mask
from jobq.contrib._failed import is_failure
from jobq.observe import Attempted, Attempting, Enqueuing, Observer

SYSTEM = "jobq"
MOST_CREATED = 100
"""Up to how many jobs that are enqueued together get a span of their own."""
SECONDS = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
Attributes = dict[str, Any]


@frozen
class Described:
    """An instrument: its name, kind, unit, and what it counts."""

    name: str
    kind: str
    unit: str
    help: str


SENT = Described(
    "messaging.client.sent.messages", "counter", "{message}", "Jobs that were to be stored"
)
OPERATION = Described(
    "messaging.client.operation.duration", "histogram", "s", "How long enqueuing took"
)
CONSUMED = Described(
    "messaging.client.consumed.messages", "counter", "{message}", "Jobs that handlers were given"
)
PROCESS = Described(
    "messaging.process.duration", "histogram", "s", "How long calls of handlers took"
)
ENDED = Described("jobq.attempts", "counter", "{attempt}", "Attempts that ended, by how")
WAIT = Described(
    "jobq.job.wait.duration", "histogram", "s", "How long jobs were due before they were claimed"
)
METRICS = (SENT, OPERATION, CONSUMED, PROCESS, ENDED, WAIT)
"""All that there are, for the reference."""


class OpenTelemetry(Observer):
    """An observer that makes spans, and has jobs carry their trace along.

    Enqueuing is a span `send QUEUE`, a call of a handler one named `process QUEUE`. The first
    attempt continues the trace of whoever enqueued the job; later ones, and batches, link to it.

    The providers are the global ones, unless others are given.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer("jobq", tracer_provider=tracer_provider)
        self._meter = metrics.get_meter("jobq", meter_provider=meter_provider)
        self._sent = self._counter(SENT)
        self._operation = self._histogram(OPERATION)
        self._consumed = self._counter(CONSUMED)
        self._process = self._histogram(PROCESS)
        self._ended = self._counter(ENDED)
        self._wait = self._histogram(WAIT)

    def _counter(self, about: Described) -> metrics.Counter:
        return self._meter.create_counter(about.name, unit=about.unit, description=about.help)

    def _histogram(self, about: Described) -> metrics.Histogram:
        return self._meter.create_histogram(
            about.name,
            unit=about.unit,
            description=about.help,
            explicit_bucket_boundaries_advisory=SECONDS,
        )

    @contextmanager
    def enqueuing(self, jobs: Sequence[Enqueuing]) -> Iterator[None]:
        """A span around the storing of jobs, whose context they carry."""
        if not jobs:
            yield
            return
        about = _operation("send", _destination(jobs))
        span = self._sending(jobs, about)
        began = time.perf_counter()
        try:
            yield
        except BaseException as error:
            about["error.type"] = _name(error)
            _failed(span, error)
            raise
        finally:
            if len(jobs) == 1:
                span.set_attribute("messaging.message.id", jobs[0].id)
            span.end()
            self._operation.record(time.perf_counter() - began, about)
            for queue, number in Counter(job.queue for job in jobs).items():
                self._sent.add(number, {**about, **_queue(queue)})

    def _sending(self, jobs: Sequence[Enqueuing], about: Attributes) -> Span:
        name = _span_name("send", about)
        if len(jobs) == 1:
            about_job = {**about, "jobq.job.type": jobs[0].type}
            span = self._tracer.start_span(name, kind=SpanKind.PRODUCER, attributes=about_job)
            propagate.inject(jobs[0].carries, trace.set_span_in_context(span))
            return span
        created = len(jobs) <= MOST_CREATED
        span = self._tracer.start_span(
            name,
            kind=SpanKind.CLIENT if created else SpanKind.PRODUCER,
            attributes={**about, "messaging.batch.message_count": len(jobs)},
        )
        inside = trace.set_span_in_context(span)
        for job in jobs:
            propagate.inject(job.carries, self._created(job, inside) if created else inside)
        return span

    def _created(self, job: Enqueuing, inside: Context) -> Context:
        about = {
            **_operation("create", job.queue),
            "messaging.message.id": job.id,
            "jobq.job.type": job.type,
        }
        span = self._tracer.start_span(
            _span_name("create", about), inside, SpanKind.PRODUCER, attributes=about
        )
        span.end()
        return trace.set_span_in_context(span)

    @contextmanager
    def attempting(self, attempts: Sequence[Attempting]) -> Iterator[None]:
        """A span around the call of a handler, whose own spans lie in it."""
        about = _operation("process", _destination(attempts))
        began = time.perf_counter()
        with self._processing(attempts, about) as span:
            try:
                yield
            except BaseException as error:
                if is_failure(error):
                    about["error.type"] = _name(error)
                    _failed(span, error)
                raise
            finally:
                self._process.record(time.perf_counter() - began, about)
                self._consumed.add(len(attempts), about)

    @contextmanager
    def _processing(self, attempts: Sequence[Attempting], about: Attributes) -> Iterator[Span]:
        first = attempts[0]
        details: Attributes = {
            **about,
            "messaging.client.id": first.worker,
            "jobq.job.type": first.type,
        }
        carried = [_carried(attempt.metadata) for attempt in attempts]
        parent: Context | None = Context()
        if len(attempts) > 1:
            details["messaging.batch.message_count"] = len(attempts)
        else:
            details["messaging.message.id"] = first.job_id
            details["jobq.job.attempt"] = first.attempt
            if first.attempt == 1:
                parent, carried = carried[0], []
        with self._tracer.start_as_current_span(
            _span_name("process", about),
            parent,
            SpanKind.CONSUMER,
            attributes=details,
            links=[link for context in carried if (link := _link(context)) is not None],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    def attempted(self, attempt: Attempted) -> None:
        """Count how attempts ended."""
        about = {**_queue(attempt.queue), "jobq.job.type": attempt.type}
        self._ended.add(1, {**about, "jobq.outcome": attempt.outcome})
        self._wait.record(attempt.waited, about)


def _operation(name: str, queue: str | None) -> Attributes:
    about = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": name,
        "messaging.operation.type": name,
    }
    return about if queue is None else {**about, **_queue(queue)}


def _queue(name: str) -> Attributes:
    return {"messaging.system": SYSTEM, "messaging.destination.name": name}


def _destination(jobs: Sequence[Enqueuing] | Sequence[Attempting]) -> str | None:
    """The queue of all, if it is one."""
    names = {job.queue for job in jobs}
    return names.pop() if len(names) == 1 else None


def _span_name(operation: str, about: Attributes) -> str:
    return " ".join(filter(None, (operation, about.get("messaging.destination.name"))))


def _carried(metadata: Mapping[str, Any]) -> Context:
    """The context of whoever enqueued a job: an empty one, if it carries none."""
    texts = {name: value for name, value in metadata.items() if isinstance(value, str)}
    return propagate.extract(texts, Context())


def _link(context: Context) -> Link | None:
    carried = trace.get_current_span(context).get_span_context()
    return Link(carried) if carried.is_valid else None


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _failed(span: Span, error: BaseException) -> None:
    span.set_attribute("error.type", _name(error))
    message = mask(str(error))
    lines = "".join(traceback.format_exception(error))
    details = {"exception.message": message, "exception.stacktrace": mask(lines)}
    span.record_exception(error, details)
    span.set_status(Status(StatusCode.ERROR, message))


__all__ = ["METRICS", "Described", "OpenTelemetry"]
