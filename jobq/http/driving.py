"""The drive endpoint: works for cron jobs and functions, and tells the queue's state."""

from __future__ import annotations

from typing import Any

from jobq import _stat_verbs as stat_verbs
from jobq import _verbs as verbs
from jobq._model import JobStatus, iso
from jobq.http import reading
from jobq.http.access import forbidden, unauthorized
from jobq.http.budget import Budget, concurrency_of, seconds_of
from jobq.http.drive import Report, Standing, look
from jobq.http.keys import IN_DEVELOPMENT, VARIABLES, fits, given_key, keys_of, usable
from jobq.http.messages import Response, answer
from jobq.http.operations import Call
from jobq.http.problems import Problem
from jobq.http.shapes import QueueView, ReportView, StateView
from jobq.http.steps import Ask, Operation, Work

USUAL_JOBS = 10
MOST_JOBS = 100


def check_key(call: Call) -> None:
    """Let only a caller pass who has one of the endpoint's keys."""
    debug = call.request.debug
    keys = keys_of() if call.api.options.keys is None else list(call.api.options.keys)
    strong = usable(keys or (IN_DEVELOPMENT if debug else ()), debug=debug)
    if not strong:
        raise Problem(
            503,
            "not_configured",
            f"not configured: set {', '.join(VARIABLES[:-1])} or {VARIABLES[-1]} to a secret of at "
            "least 16 letters that stands in no document",
        )
    given = given_key(call.request)
    if given is None:
        raise unauthorized("send the key, as x-api-key or as Authorization: Bearer")
    if not fits(given, strong):
        raise forbidden("this key is not the endpoint's")


def process(call: Call) -> Operation:
    """Run jobs. The answer is 200 also where jobs failed: a repetition would not help these."""
    check_key(call)
    wanted = reading.whole(call.request, "maxJobs", default=USUAL_JOBS, least=1, most=MOST_JOBS)
    budget = Budget(
        seconds=seconds_of(call.api.options.time_budget),
        max_jobs=wanted,
        concurrency=concurrency_of(call.api.options.concurrency),
    )
    report = yield Work(budget)
    return answer(report_view(report))


def report_view(report: Report) -> ReportView:
    outcomes = report.outcomes
    return ReportView(
        success=True,
        processed=outcomes.total() - outcomes["released"],
        completed=outcomes["completed"],
        failed=outcomes["failed"],
        rateLimited=outcomes["rate_limited"],
        released=outcomes["released"],
        remaining=report.remaining,
        nextRunAt=iso(report.next_run_at),
        elapsedMs=round(report.elapsed * 1000),
        stoppedBecause=report.stopped_because,
    )


def state(call: Call) -> Operation:
    """How the queue stands. Nothing is run."""
    check_key(call)
    standing = yield Ask(look)
    workers = yield Ask(verbs.workers)
    queues = yield Ask(verbs.queues)
    return answer(_state_view(standing, workers, queues))


def metrics(call: Call) -> Operation:
    """What the queue's observers tell a scraper."""
    check_key(call)
    observers = call.api.config.observers
    told = None
    if observers.have("exposition"):
        told = observers.exposition((yield Ask(stat_verbs.gauges)))
    if told is None:
        raise Problem(
            404,
            "no_metrics",
            "no observer of this queue tells metrics; add jobq.contrib.prometheus.Prometheus()",
        )
    content_type, text = told
    headers = {"content-type": content_type, "cache-control": "no-store"}
    return Response(status=200, headers=headers, body=text)


def _state_view(standing: Standing, workers: list[Any], queues: list[Any]) -> StateView:
    counts = standing.counts
    return StateView(
        pending=counts[JobStatus.PENDING],
        processing=counts[JobStatus.PROCESSING],
        rateLimited=counts[JobStatus.RATE_LIMITED],
        waiting=counts[JobStatus.WAITING],
        completed=counts[JobStatus.COMPLETED],
        failed=counts[JobStatus.FAILED],
        cancelled=counts[JobStatus.CANCELLED],
        cap=counts.cap,
        nextRunAt=iso(standing.next_run_at),
        workers=sum(worker.alive for worker in workers),
        queues=[
            QueueView(
                queue=one.queue,
                paused=one.paused,
                pausedUntil=iso(one.paused_until),
                live=dict(one.live),
            )
            for one in queues
        ],
    )
