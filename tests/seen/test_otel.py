"""Traces and metrics by OpenTelemetry's own SDK, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import jobq
from jobq.contrib import otel


class Kept:
    """What was exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader])
        self.observer = otel.OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def points(self) -> dict[str, list[Any]]:
        """The points of each metric, which are forgotten thereby."""
        data = self._reader.get_metrics_data()
        scopes = [] if data is None else data.resource_metrics[0].scope_metrics
        return {one.name: list(one.data.data_points) for s in scopes for one in s.metrics}


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def queue(sqlite: str, router: jobq.Router, kept: Kept) -> Iterator[jobq.Queue]:
    with jobq.Queue(sqlite, router=router, observers=[kept.observer]) as queue:
        yield queue


def work_off(queue: jobq.Queue) -> None:
    asyncio.run(jobq.Worker(queue).run_once())


def traced(span: ReadableSpan) -> int:
    return span.get_span_context().trace_id


def test_a_trace_goes_from_the_request_through_the_job_into_what_its_handler_does(
    queue: jobq.Queue, router: jobq.Router, kept: Kept
) -> None:
    tracer = kept.tracers.get_tracer("app")

    @router.handler("draw")
    async def draw(payload: dict) -> None:
        with tracer.start_as_current_span("ask the provider"):
            await asyncio.sleep(0)

    with tracer.start_as_current_span("POST /jobs"):
        job = queue.enqueue(draw, {}, queue="images", metadata={"tenant": "t1"})
    work_off(queue)
    [request], [inner] = kept.spans("POST /jobs"), kept.spans("ask the provider")
    [send], [process] = kept.spans("send images"), kept.spans("process images")
    assert {traced(span) for span in (request, send, process, inner)} == {traced(request)}
    assert send.parent == request.get_span_context()
    assert process.parent is not None
    assert process.parent.span_id == send.get_span_context().span_id
    assert process.parent.is_remote
    assert inner.parent == process.get_span_context()
    assert (send.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    shared = {"messaging.system": "jobq", "messaging.destination.name": "images"}
    assert send.attributes == {
        **shared,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": job.id,
        "jobq.job.type": "draw",
    }
    assert process.attributes is not None
    worker = process.attributes["messaging.client.id"]
    assert process.attributes == {
        **shared,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": job.id,
        "messaging.client.id": worker,
        "jobq.job.type": "draw",
        "jobq.job.attempt": 1,
    }
    assert set(queue.get(job.id).metadata) == {"tenant", "traceparent"}


def test_a_def_handler_runs_inside_its_span_too(
    queue: jobq.Queue, router: jobq.Router, kept: Kept
) -> None:
    seen = []

    @router.handler("draw")
    def draw(payload: dict) -> None:
        seen.append(trace.get_current_span().get_span_context().span_id)

    queue.enqueue(draw, {})
    work_off(queue)
    assert seen == [kept.spans("process default")[0].get_span_context().span_id]


def test_a_failure_marks_its_span_and_the_next_attempt_links_to_the_trace(
    queue: jobq.Queue, router: jobq.Router, kept: Kept
) -> None:
    @router.handler("draw", retry=jobq.Retry(max_attempts=2, backoff=jobq.Fixed(0.0)))
    async def draw(payload: dict) -> None:
        raise ValueError("token=abcdef123456 was refused")

    queue.enqueue(draw, {})
    work_off(queue)
    first, second = kept.spans("process default")
    [send] = kept.spans("send default")
    assert traced(first) == traced(send) != traced(second)
    assert second.parent is None
    assert [link.context.span_id for link in second.links] == [send.get_span_context().span_id]
    for span in (first, second):
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes is not None
        assert span.attributes["error.type"] == "ValueError"
        assert [event.name for event in span.events] == ["exception"]
        assert "abcdef123456" not in str(span.to_json())


def test_what_a_handler_only_wishes_is_no_error(
    queue: jobq.Queue, router: jobq.Router, kept: Kept
) -> None:
    @router.handler("draw")
    async def draw(payload: dict) -> None:
        raise jobq.Snooze(60)

    queue.enqueue(draw, {})
    work_off(queue)
    assert kept.spans("process default")[0].status.status_code is StatusCode.UNSET


def test_a_job_that_parks_is_no_error(queue: jobq.Queue, kept: Kept, parks: jobq.Job) -> None:
    work_off(queue)
    assert queue.get(parks).status == "waiting"
    assert kept.spans("process default")[0].status.status_code is StatusCode.UNSET
    assert "error.type" not in kept.points()[otel.PROCESS.name][0].attributes


def test_a_job_that_is_cancelled_is_no_error(
    queue: jobq.Queue, kept: Kept, is_cancelled: jobq.Job
) -> None:
    work_off(queue)
    assert queue.get(is_cancelled).status == "cancelled"
    assert kept.spans("process default")[0].status.status_code is StatusCode.UNSET


def test_a_batch_is_one_span_that_links_to_all_who_enqueued(
    queue: jobq.Queue, router: jobq.Router, kept: Kept
) -> None:
    @router.handler("embed", batch=10)
    async def embed(payloads: list[dict]) -> None: ...

    queue.enqueue_many([("embed", {"n": n}) for n in range(3)])
    queue.enqueue("embed", {"n": 3})
    work_off(queue)
    [process] = kept.spans("process default")
    single, several = sorted(
        kept.spans("send default"), key=lambda span: span.kind.name, reverse=True
    )
    created = kept.spans("create default")
    assert (single.kind, several.kind) == (SpanKind.PRODUCER, SpanKind.CLIENT)
    assert {span.parent and span.parent.span_id for span in created} == {
        several.get_span_context().span_id
    }
    assert process.attributes is not None
    assert process.attributes["messaging.batch.message_count"] == 4
    assert {link.context.span_id for link in process.links} == {
        span.get_span_context().span_id for span in (*created, single)
    }


def test_many_jobs_share_the_span_that_sent_them(queue: jobq.Queue, kept: Kept) -> None:
    queue.enqueue_many(("t", {"n": n}) for n in range(150))
    [send] = kept.spans("send default")
    assert send.kind is SpanKind.PRODUCER
    assert kept.spans("create default") == []
    carried = {job.metadata["traceparent"].split("-")[2] for job in queue.list(limit=200).jobs}
    assert carried == {f"{send.get_span_context().span_id:016x}"}


def test_a_job_that_exists_already_is_the_one_that_the_span_names(
    queue: jobq.Queue, kept: Kept
) -> None:
    first = queue.enqueue("t", {}, unique_key="k")
    assert queue.enqueue("t", {}, unique_key="k") == first
    ids = [
        span.attributes and span.attributes["messaging.message.id"]
        for span in kept.spans("send default")
    ]
    assert ids == [first.id, first.id]


def test_an_enqueue_that_fails_marks_its_span(queue: jobq.Queue, kept: Kept) -> None:
    queue.enqueue("t", {"n": 1}, idempotency_key="k")
    with pytest.raises(jobq.DuplicateJob):
        queue.enqueue("t", {"n": 2}, idempotency_key="k")
    assert kept.spans("send default")[-1].status.status_code is StatusCode.ERROR


def test_metrics_count_by_queue_and_never_by_job_or_owner(
    queue: jobq.Queue, router: jobq.Router, kept: Kept
) -> None:
    @router.handler("draw", retry=jobq.Retry(max_attempts=1))
    async def draw(payload: dict) -> None:
        if payload["fails"]:
            raise ValueError("no")

    for fails in (False, True):
        queue.enqueue(draw, {"fails": fails}, owner="ada")
    queue.enqueue_many([("other", {}, {"queue": "q1"}), ("other", {}, {"queue": "q2"})])
    work_off(queue)
    points = kept.points()
    assert set(points) == {about.name for about in otel.METRICS}
    sent = {
        one.attributes["messaging.destination.name"]: one.value for one in points[otel.SENT.name]
    }
    assert sent == {"default": 2, "q1": 1, "q2": 1}
    ended = {one.attributes["jobq.outcome"]: one.value for one in points[otel.ENDED.name]}
    assert ended == {"completed": 1, "failed": 1}
    errors = {one.attributes.get("error.type"): one.count for one in points[otel.PROCESS.name]}
    assert errors == {None: 1, "ValueError": 1}
    assert sum(one.value for one in points[otel.CONSUMED.name]) == 2
    names = {name for some in points.values() for one in some for name in one.attributes}
    assert names == {
        "messaging.system",
        "messaging.destination.name",
        "messaging.operation.name",
        "messaging.operation.type",
        "error.type",
        "jobq.job.type",
        "jobq.outcome",
    }


def test_metadata_that_has_no_room_for_a_trace_stays_as_it_is(
    queue: jobq.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    job = queue.enqueue("t", {}, metadata={"k": "x" * (16 * 1024 - 20)})
    assert set(queue.get(job.id).metadata) == {"k"}
    assert "too much metadata" in caplog.text
