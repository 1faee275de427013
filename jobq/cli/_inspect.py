"""Commands that look at jobs: list, show, why."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import datetime
from typing import TYPE_CHECKING

from jobq import backends
from jobq._clock import to_datetime
from jobq.cli import _options as options
from jobq.cli._app import opened
from jobq.cli._output import (
    job_details,
    moment,
    pretty,
    print_block,
    print_facts,
    print_json,
    print_table,
    printable,
    shortened,
    span,
)
from jobq.cli._why import why

if TYPE_CHECKING:
    from jobq._model import Attempt, Job
    from jobq._queue import Queue
    from jobq.cli._options import Commands


def add(commands: Commands) -> None:
    """Add the commands of this file."""
    parser = options.add_command(commands, list_jobs, "list")
    options.add_target(parser)
    options.add_filters(parser)
    parser.add_argument(
        "--limit", type=options.count, default=50, metavar="N", help="how many (default 50)"
    )
    parser.add_argument(
        "--after",
        type=options.id_of_job,
        metavar="ID",
        help="go on after this job of a page before",
    )
    for run, name in ((show, "show"), (explain, "why")):
        parser = options.add_command(commands, run, name)
        options.add_target(parser)
        parser.add_argument("id", type=options.id_of_job, metavar="ID", help="the job's id")


def list_jobs(args: Namespace) -> int:
    """List jobs, newest first."""
    with opened(args) as queue:
        page = queue.list(**options.filters(args), limit=args.limit, after=args.after)
    if args.json:
        print_json({"jobs": [job.to_dict() for job in page.jobs], "next": page.next})
        return 0
    if not page.jobs:
        print("no jobs")
        return 0
    print_table(
        ("ID", "TYPE", "QUEUE", "STATUS", "PRIORITY", "ATTEMPTS", "PROGRESS", "CREATED", "NOTE"),
        map(_row, page.jobs),
    )
    if page.next is not None:
        print(f"there are more: --after {page.next}", file=sys.stderr)
    return 0


def _row(job: Job) -> tuple[object, ...]:
    return (
        job.id,
        job.type,
        job.queue,
        job.status,
        job.priority,
        _tries(job),
        f"{job.progress} %",
        job.created_at,
        shortened(job.error or job.message),
    )


def _tries(job: Job) -> str:
    return f"{job.attempts}/{job.max_attempts}" if job.max_attempts else str(job.attempts)


def show(args: Namespace) -> int:
    """Show all about a job: payload, result, errors, and the history with tracebacks."""
    with opened(args) as queue:
        job = queue.get(args.id)
        history = queue.history(args.id)
    if args.json:
        print_json(job_details(job, history))
        return 0
    print_facts(_facts(job))
    print_block("payload", pretty(job.payload))
    if job.metadata:
        print_block("metadata", pretty(dict(job.metadata)))
    if job.result is not None:
        print_block("result", pretty(job.result))
    if job.error is not None:
        print_block("error", job.error)
    for attempt in history:
        _print_attempt(attempt)
    return 0


def waits_for(job: Job) -> str:
    """The limit that holds a job back, and when it opens."""
    held = job.waiting_for
    if held is None:
        return ""
    until = "" if held.until is None else f" until {moment(held.until)}"
    eta = "" if job.eta is None else f", starts in about {span(job.eta)}"
    return f"limit {held.limit}{until}{eta}"


def _facts(job: Job) -> list[tuple[str, object]]:
    counters = {
        "rate limited": job.rate_limited_count,
        "released": job.released_count,
        "snoozed": job.snoozed_count,
        "crashed": job.crash_count,
    }
    return [
        ("id", job.id),
        ("type", job.type),
        ("queue", job.queue),
        ("status", job.status),
        ("priority", job.priority),
        ("waits for", None if job.waiting_for is None else waits_for(job)),
        ("position", job.position),
        ("progress", f"{job.progress} %"),
        ("message", job.message),
        ("attempts", _tries(job)),
        *((name, f"{number} times") for name, number in counters.items() if number),
        ("error code", job.error_code),
        ("declared", None if job.declared else "no: no worker has checked the payload yet"),
        ("cancelling", "yes" if job.cancel_requested else None),
        ("owner", job.owner),
        ("unique key", job.unique_key),
        ("timeout", None if job.timeout is None else f"{job.timeout:g} s"),
        ("worker", job.worker),
        ("created", job.created_at),
        ("run at", job.run_at),
        ("expires", job.expires_at),
        ("started", job.started_at),
        ("lease until", job.lease_until),
        ("completed", job.completed_at),
        ("updated", job.updated_at),
        ("version", job.version),
    ]


def _print_attempt(attempt: Attempt) -> None:
    took = span((attempt.ended_at - attempt.started_at).total_seconds())
    title = f"attempt {attempt.number}: {attempt.outcome}"
    when = f"{moment(attempt.started_at)}, {took}, worker {attempt.worker}"
    lines = [when]
    if attempt.error is not None:
        lines.append(attempt.error)
    if attempt.traceback is not None:
        lines.append(attempt.traceback)
    print_block(title, "\n".join(lines))


def explain(args: Namespace) -> int:
    """Say in one sentence why a job is not running, and what to do."""
    with opened(args) as queue:
        job = queue.get(args.id)
        paused = {state.queue: state for state in queue.queues() if state.paused}
        state = paused.get(job.queue)
        sentence = why(
            job,
            paused=state is not None,
            paused_until=None if state is None else state.paused_until,
            workers=queue.workers(),
            now=_now(queue),
        )
    if args.json:
        print_json({"id": job.id, "status": job.status, "why": sentence})
    else:
        print(printable(sentence))
    return 0


def _now(queue: Queue) -> datetime:
    """The database's time, which is the one that workers go by."""
    survey = queue._store().run(backends.ops.survey, types=[])  # noqa: SLF001
    return to_datetime(survey.now)
