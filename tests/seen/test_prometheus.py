"""Metrics as Prometheus reads them: scraped, and parsed by its own parser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import jobq
from jobq._worker.health import exposition, health_server
from jobq.contrib import prometheus
from jobq.http import JobsApi, Request
from jobq.http.messages import Response
from jobq.testing import FrozenClock

KEY = "a-key-of-the-drive-endpoint"
Samples = dict[str, dict[tuple[str, ...], float]]


@pytest.fixture
def observer() -> prometheus.Prometheus:
    return prometheus.Prometheus()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(datetime(2031, 1, 1, 12, tzinfo=UTC))


@pytest.fixture
def queue(
    url: str, router: jobq.Router, observer: prometheus.Prometheus, clock: FrozenClock
) -> Iterator[jobq.Queue]:
    with jobq.Queue(url, router=router, observers=[observer], clock=clock) as queue:
        yield queue


def parsed(text: str) -> Samples:
    """The values of each metric, by those of its labels, by their names."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[
                tuple(value for _, value in sorted(sample.labels.items()))
            ] = sample.value
    return found


def scraped(queue: jobq.Queue, **headers: str) -> Response:
    api = JobsApi(queue, keys=[KEY])
    answer = api.handle("/metrics", Request(method="GET", path="/jobs/metrics", headers=headers))
    assert isinstance(answer, Response)
    return answer


def samples(queue: jobq.Queue) -> Samples:
    answer = scraped(queue, authorization=f"Bearer {KEY}")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=1.0.0")
    return parsed(answer.body.decode())


def test_a_scraper_sees_what_became_of_jobs(
    queue: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    @router.handler("draw", retry=jobq.Retry(max_attempts=1))
    async def draw(payload: dict) -> None:
        if payload["fails"]:
            raise ValueError("no")

    for fails in (False, False, True):
        queue.enqueue(draw, {"fails": fails}, owner="ada", queue="images")
    clock.advance(timedelta(seconds=7))
    asyncio.run(jobq.Worker(queue).run_once())
    found = samples(queue)
    assert found["jobq_jobs_enqueued_total"] == {("images", "draw"): 3}
    assert found["jobq_jobs_total"] == {
        ("completed", "images", "draw"): 2,
        ("failed", "images", "draw"): 1,
    }
    assert found["jobq_job_duration_seconds_count"] == {("images", "draw"): 3}
    assert found["jobq_job_wait_seconds_sum"] == {("images", "draw"): 21}
    assert found["jobq_database_seconds_count"][("claim",)] >= 1


def test_a_scraper_sees_how_the_queue_stands(queue: jobq.Queue, clock: FrozenClock) -> None:
    queue.enqueue("draw", {}, delay=3600)
    assert samples(queue)["jobq_queue_jobs"] == {("default", "pending"): 1}
    assert "jobq_oldest_ready_age_seconds" not in samples(queue)
    clock.advance(timedelta(hours=1, seconds=30))
    queue.enqueue("draw", {}, queue="slow")
    queue.pause("slow")
    queue.cancel(queue.enqueue("draw", {}))
    found = samples(queue)
    assert found["jobq_oldest_ready_age_seconds"] == {("default",): 30, ("slow",): 0}
    assert found["jobq_queue_paused"] == {("default",): 0, ("slow",): 1}
    assert found["jobq_jobs_changed_total"] == {("cancel",): 1}
    assert found["jobq_workers"] == {(): 0}
    assert found["jobq_worker_slots"] == {("busy",): 0, ("free",): 0, ("hanging",): 0}


def test_metrics_are_not_for_everybody(queue: jobq.Queue) -> None:
    assert scraped(queue).status == 401
    assert scraped(queue, authorization="Bearer another-key-than-that").status == 403


def test_without_an_observer_there_are_no_metrics(sqlite: str) -> None:
    with jobq.Queue(sqlite) as queue:
        answer = scraped(queue, authorization=f"Bearer {KEY}")
    assert answer.status == 404
    assert b"jobq.contrib.prometheus" in answer.body


async def test_the_port_of_a_worker_tells_them(queue: jobq.Queue) -> None:
    await queue.aio.enqueue("draw", {})
    async with aclosing(queue._config.async_store()) as store:
        told = partial(exposition, queue._config, store)
        async with health_server(0, lambda: True, told) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
    assert b"Content-Type: text/plain; version=1.0.0" in head
    assert parsed(body.decode())["jobq_queue_jobs"] == {("default", "pending"): 1}
    await queue.aio.aclose()


def test_a_registry_of_the_apps_own_can_be_used(sqlite: str) -> None:
    registry = CollectorRegistry()
    observer = prometheus.Prometheus(registry)
    with jobq.Queue(sqlite, observers=[observer]) as queue:
        registry.register(prometheus.QueueCollector(queue.aio))
        queue.enqueue("draw", {})
        found = parsed(generate_latest(registry).decode())
    assert found["jobq_jobs_enqueued_total"] == {("default", "draw"): 1}
    assert found["jobq_queue_jobs"] == {("default", "pending"): 1}


def test_every_metric_is_in_the_list_and_has_its_labels(
    queue: jobq.Queue, observer: prometheus.Prometheus
) -> None:
    registry = CollectorRegistry()
    registry.register(prometheus.QueueCollector(queue))
    listed = {about.name.removesuffix("_total"): about for about in prometheus.METRICS}
    families = [*observer.registry.collect(), *registry.collect()]
    assert {family.name for family in families} == set(listed)
    for family in families:
        about = listed[family.name]
        assert (family.documentation, family.type) == (about.help, about.kind)
        assert not {"id", "job", "job_id", "owner"} & set(about.labels)
