"""Metrics for Prometheus: what this process does, and how the queue stands.

`pip install 'jobq[prometheus]'`, and give the queue an observer:

>>> from jobq.contrib.prometheus import Prometheus
>>> queue = jobq.Queue("sqlite:///jobs.db", observers=[Prometheus()])

Nothing is labelled by a job or an owner: there would be as many series as these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen

from jobq.contrib import missing

try:
    from prometheus_client import CollectorRegistry, Counter, Histogram
    from prometheus_client.core import GaugeMetricFamily, Metric
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise missing(error, "prometheus") from error

from jobq import _stat_verbs as stat_verbs
from jobq._model import Job
from jobq._queue import AsyncQueue, Queue
from jobq.observe import Attempted, Gauges, Observer

SECONDS = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
"""Upper bounds of what jobs take and wait."""


@frozen
class Described:
    """A metric: its name, what it is, and what it is labelled by."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


ENQUEUED = Described(
    "jobq_jobs_enqueued_total", "counter", "Jobs that this process has stored", ("queue", "type")
)
ENDED = Described(
    "jobq_jobs_total",
    "counter",
    "Attempts that ended in this process, by how",
    ("queue", "type", "outcome"),
)
DURATION = Described(
    "jobq_job_duration_seconds", "histogram", "How long attempts took", ("queue", "type")
)
WAIT = Described(
    "jobq_job_wait_seconds",
    "histogram",
    "How long jobs were due before they were claimed",
    ("queue", "type"),
)
LOST = Described(
    "jobq_leases_lost_total",
    "counter",
    "Outcomes that came too late and were refused",
    ("type",),
)
CHANGED = Described(
    "jobq_jobs_changed_total",
    "counter",
    "Jobs that were moved by a verb or by upkeep, such as rescue",
    ("verb",),
)
DATABASE = Described(
    "jobq_database_seconds", "histogram", "How long units of work took on the database", ("op",)
)
FAILED_CALLS = Described(
    "jobq_database_errors_total", "counter", "Units of work that failed on the database", ("op",)
)
JOBS = Described(
    "jobq_queue_jobs",
    "gauge",
    "Unfinished jobs, of the first 10000 of each status",
    ("queue", "status"),
)
DUE = Described(
    "jobq_oldest_ready_age_seconds",
    "gauge",
    "For how long the pending job has been due that is due longest",
    ("queue",),
)
PAUSED = Described("jobq_queue_paused", "gauge", "1 while no job of the queue starts", ("queue",))
WORKERS = Described("jobq_workers", "gauge", "Workers that are alive")
SLOTS = Described(
    "jobq_worker_slots", "gauge", "Slots of living workers, by their state", ("state",)
)

METRICS = (
    ENQUEUED,
    ENDED,
    DURATION,
    WAIT,
    LOST,
    CHANGED,
    DATABASE,
    FAILED_CALLS,
    JOBS,
    DUE,
    PAUSED,
    WORKERS,
    SLOTS,
)
"""All that there are, for the reference."""


class Prometheus(Observer):
    """An observer that counts. `/metrics` of the HTTP routes and of the worker's port show it.

    `registry` is where its metrics are kept, a new one by default. With
    `prometheus_client.REGISTRY` they stand among those that the app has already, and
    `QueueCollector` puts the state of the queue there as well.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._enqueued = self._counter(ENQUEUED)
        self._ended = self._counter(ENDED)
        self._lost = self._counter(LOST)
        self._changed = self._counter(CHANGED)
        self._failed_calls = self._counter(FAILED_CALLS)
        self._duration = self._histogram(DURATION)
        self._wait = self._histogram(WAIT)
        self._database = self._histogram(DATABASE)

    def _counter(self, about: Described) -> Counter:
        return Counter(about.name, about.help, about.labels, registry=self.registry)

    def _histogram(self, about: Described) -> Histogram:
        return Histogram(
            about.name, about.help, about.labels, registry=self.registry, buckets=SECONDS
        )

    def job_enqueued(self, job: Job) -> None:
        """Count a job that was stored."""
        if job.created:
            self._enqueued.labels(job.queue, job.type).inc()

    def attempted(self, attempt: Attempted) -> None:
        """Count an attempt by how it ended, with its times."""
        self._ended.labels(attempt.queue, attempt.type, attempt.outcome).inc()
        self._duration.labels(attempt.queue, attempt.type).observe(attempt.seconds)
        self._wait.labels(attempt.queue, attempt.type).observe(attempt.waited)

    def lease_lost(self, job_id: str, type: str) -> None:  # noqa: ARG002  a hook's arguments
        """Count an outcome that came too late."""
        self._lost.labels(type).inc()

    def jobs_changed(self, verb: str, job_ids: Iterable[str]) -> None:
        """Count what verbs and upkeep move."""
        self._changed.labels(verb).inc(len(list(job_ids)))

    def database_called(self, op: str, seconds: float, error: BaseException | None) -> None:
        """Count a unit of work on the database."""
        self._database.labels(op).observe(seconds)
        if error is not None:
            self._failed_calls.labels(op).inc()

    def exposition(self, gauges: Gauges) -> tuple[str, bytes]:
        """The metrics of this process, and the queue's."""
        queue = CollectorRegistry()
        queue.register(_Known(gauges))
        return CONTENT_TYPE_LATEST, generate_latest(self.registry) + generate_latest(queue)


class QueueCollector(Collector):
    """How a queue stands, looked up whenever a registry of the app's own is scraped.

    >>> prometheus_client.REGISTRY.register(QueueCollector(queue))  # doctest: +SKIP
    """

    def __init__(self, queue: Queue | AsyncQueue) -> None:
        self._queue = queue.sync if isinstance(queue, AsyncQueue) else queue

    def describe(self) -> Iterable[Metric]:
        """Nothing: to be registered it needs no database."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The gauges, in a few statements that scan no table."""
        return families(self._queue._do(stat_verbs.gauges))  # noqa: SLF001  the engine's verbs


class _Known(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        return families(self._gauges)


def families(gauges: Gauges) -> Iterator[Metric]:
    """The metrics of a queue's state."""
    queues = {queue for queue, _ in gauges.live} | gauges.paused
    yield _gauge(JOBS, gauges.live)
    yield _gauge(DUE, {(queue,): seconds for queue, seconds in gauges.due.items()})
    yield _gauge(PAUSED, {(queue,): queue in gauges.paused for queue in queues})
    yield _gauge(WORKERS, {(): gauges.workers})
    yield _gauge(
        SLOTS,
        {
            ("busy",): gauges.busy,
            ("hanging",): gauges.hanging,
            ("free",): max(0, gauges.slots - gauges.busy - gauges.hanging),
        },
    )


def _gauge(about: Described, values: Any) -> GaugeMetricFamily:
    family = GaugeMetricFamily(about.name, about.help, labels=about.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, float(value))
    return family


__all__ = ["METRICS", "Described", "Prometheus", "QueueCollector"]
