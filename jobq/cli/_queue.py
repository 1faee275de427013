"""Commands about a queue as a whole: migrate, status, cleanup, pause, resume."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from jobq._masking import shown_url
from jobq._model import JobStatus
from jobq.cli import _options as options
from jobq.cli import _terminal as terminal
from jobq.cli._app import find_queue, opened
from jobq.cli._output import (
    iso,
    moment,
    print_json,
    print_table,
    worker_details,
)

if TYPE_CHECKING:
    from jobq._model import WorkerInfo
    from jobq._queue import Queue
    from jobq.cli._options import Commands


EVERY, SHORTEST = 2.0, 0.2
"""Seconds between two looks: the default, and the least."""


def add(commands: Commands) -> None:
    """Add the commands of this file."""
    parser = options.add_command(commands, migrate, "migrate")
    options.add_target(parser)
    parser.add_argument("--sql", action="store_true", help="print the SQL; connect to nothing")
    parser = options.add_command(commands, status, "status")
    options.add_target(parser)
    parser.add_argument(
        "--watch",
        type=options.seconds,
        nargs="?",
        const=EVERY,
        metavar="S",
        help=f"show it again every S seconds (default {EVERY:g}), until Ctrl-C",
    )
    parser = options.add_command(commands, cleanup, "cleanup")
    options.add_target(parser)
    add_days(parser)
    parser = options.add_command(commands, pause, "pause")
    options.add_target(parser)
    parser.add_argument("queue", metavar="QUEUE", help="the queue's name")
    parser.add_argument(
        "--until",
        type=options.instant,
        metavar="INSTANT",
        help="resume by itself then, as in 2030-01-31T12:00:00Z",
    )
    parser = options.add_command(commands, resume, "resume")
    options.add_target(parser)
    parser.add_argument("queue", metavar="QUEUE", help="the queue's name")


def add_days(parser: ArgumentParser) -> None:
    """How long ago finished jobs are old."""
    parser.add_argument(
        "--days", type=options.days, default=30, metavar="N", help="older than this (default 30)"
    )


def migrate(args: Namespace) -> int:
    """Create jobq's tables, or bring them up to date.

    SQLite files need no migration: they are brought up to date when they are opened.
    """
    if args.sql:
        print(find_queue(args.url, args.app, new=True)._config.backend.script())  # noqa: SLF001
        return 0
    with opened(args, new=True) as queue:
        steps = queue.migrate()
    if args.json:
        print_json({"steps": steps})
    elif steps:
        print(f"ran the schema's steps {', '.join(map(str, steps))}")
    else:
        print("the schema is up to date")
    return 0


def status(args: Namespace) -> int:
    """Show how many jobs there are, the queues, and the workers.

    Counts and queues look at the first 10,000 jobs of each status.
    """
    with opened(args) as queue:
        if args.watch is None:
            show_state(queue, as_json=args.json)
        else:
            keep_showing(queue, args.watch, as_json=args.json)
    return 0


def keep_showing(
    queue: Queue, seconds: float, *, as_json: bool, rest: Callable[[float], None] = time.sleep
) -> None:
    """Print how a queue stands again and again; with JSON a line each time."""
    with suppress(KeyboardInterrupt):
        while True:
            if as_json:
                print(json.dumps(_state(queue), ensure_ascii=False), flush=True)
            else:
                terminal.draw(lambda: _print_state(queue))
            rest(max(seconds, SHORTEST))


def show_state(queue: Queue, *, as_json: bool) -> None:
    """Print how a queue stands."""
    if as_json:
        print_json(_state(queue))
    else:
        _print_state(queue)


def _state(queue: Queue) -> dict[str, object]:
    counts = queue.counts()
    return {
        "database": shown_url(queue._config.url),  # noqa: SLF001
        "counts": {status.value: counts[status] for status in JobStatus},
        "countsUpTo": counts.cap,
        "queues": [
            {
                "queue": state.queue,
                "paused": state.paused,
                "pausedUntil": iso(state.paused_until),
                "live": dict(state.live),
            }
            for state in queue.queues()
        ],
        "workers": [worker_details(worker) for worker in queue.workers()],
    }


def _print_state(queue: Queue) -> None:
    counts, queues, workers = queue.counts(), queue.queues(), queue.workers()
    print(shown_url(queue._config.url), end="\n\n")  # noqa: SLF001
    print_table(
        ("STATUS", "JOBS"), [(status, _capped(counts[status], counts.cap)) for status in JobStatus]
    )
    if queues:
        print()
        columns = ("QUEUE", "PENDING", "PROCESSING", "RATE LIMITED", "WAITING", "PAUSED")
        live = ("pending", "processing", "rate_limited", "waiting")
        print_table(
            columns,
            [
                (
                    state.queue,
                    *(_capped(state.live.get(name, 0), counts.cap) for name in live),
                    _paused(state.paused, state.paused_until and moment(state.paused_until)),
                )
                for state in queues
            ],
        )
    print()
    if workers:
        print_table(
            ("WORKER", "STATE", "BUSY", "HANGING", "QUEUES", "TYPES", "SEEN"),
            map(_worker_row, workers),
        )
    else:
        print("no workers")


def _capped(number: int, cap: int) -> str:
    return f"{number}+" if number >= cap else str(number)


def _paused(paused: bool, until: str | None) -> str:
    if not paused:
        return "no"
    return f"until {until}" if until else "yes"


def _worker_row(worker: WorkerInfo) -> tuple[object, ...]:
    return (
        worker.label,
        "alive" if worker.alive else "gone",
        f"{worker.busy}/{worker.slots}",
        worker.abandoned,
        ",".join(worker.queues) or "all",
        ",".join(worker.types),
        worker.seen_at,
    )


def cleanup(args: Namespace) -> int:
    """Delete jobs that finished long ago, with their history.

    Workers delete jobs by themselves once their retention is over.
    """
    with opened(args) as queue:
        clean_up(queue, args.days, as_json=args.json)
    return 0


def clean_up(queue: Queue, days: float, *, as_json: bool) -> None:
    """Delete old jobs, and print how many there were."""
    deleted = queue.cleanup_old_jobs(days)
    if as_json:
        print_json({"count": deleted})
    else:
        print(f"deleted {deleted} jobs that finished more than {days:g} days ago")


def pause(args: Namespace) -> int:
    """Let no job of a queue start; running ones go on."""
    with opened(args) as queue:
        queue.pause(args.queue, until=args.until)
    if args.json:
        print_json({"queue": args.queue, "paused": True, "pausedUntil": iso(args.until)})
    else:
        print(f"paused {args.queue}" + (f" until {moment(args.until)}" if args.until else ""))
    return 0


def resume(args: Namespace) -> int:
    """Let the jobs of a queue start again."""
    with opened(args) as queue:
        queue.resume(args.queue)
    if args.json:
        print_json({"queue": args.queue, "paused": False, "pausedUntil": None})
    else:
        print(f"resumed {args.queue}")
    return 0
