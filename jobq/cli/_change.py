"""Commands that make or move jobs: enqueue, retry, cancel, reschedule, delete."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from jobq._errors import BackendError, JobqError, OptionError, SchemaError
from jobq._masking import mask
from jobq._payload import loads
from jobq._verbs import MANY
from jobq.cli import _options as options
from jobq.cli._app import opened
from jobq.cli._output import print_json, printable

if TYPE_CHECKING:
    from jobq._model import Job
    from jobq.cli._options import Commands

DONE = {"retry": "retried", "cancel": "cancelled", "delete": "deleted"}


def add(commands: Commands) -> None:
    """Add the commands of this file."""
    _add_enqueue(options.add_command(commands, enqueue, "enqueue"))
    for run in (retry, cancel, delete):
        parser = options.add_command(commands, run, run.__name__)
        options.add_target(parser)
        parser.add_argument("ids", type=options.id_of_job, nargs="*", metavar="ID", help="the jobs")
        options.add_filters(parser)
        parser.add_argument("--dry-run", action="store_true", help="only say how many fit")
    _add_reschedule(options.add_command(commands, reschedule, "reschedule"))


def _add_enqueue(parser: ArgumentParser) -> None:
    options.add_target(parser)
    add = parser.add_argument
    add("type", metavar="TYPE", help="the job's type")
    add("payload", nargs="?", metavar="JSON", help="its payload; - reads it from standard input")
    add("--queue", help="the queue (default: the handler's, or default)")
    add("--priority", type=options.priority, help="urgent, normal, batch or an integer")
    _add_time(parser)
    add("--max-attempts", type=options.count, metavar="N", help="how often it may be tried")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--timeout", type=options.seconds, metavar="S", help="seconds an attempt")
    limit.add_argument("--no-timeout", action="store_true", help="an attempt may take for ever")
    add("--expires-at", type=options.instant, metavar="INSTANT", help="fail it if not started then")
    add("--unique-key", metavar="KEY", help="one unfinished job of this type with this key")
    add("--owner", help="whose job it is")
    keep = parser.add_mutually_exclusive_group()
    keep.add_argument(
        "--keep", type=options.seconds, metavar="S", help="seconds it stays when done"
    )
    keep.add_argument("--no-keep", action="store_true", help="delete it when it completes")
    add("--metadata", metavar="JSON", help="a JSON object that the handler sees")


def _add_time(parser: ArgumentParser) -> None:
    time = parser.add_mutually_exclusive_group()
    time.add_argument(
        "--at",
        type=options.instant,
        metavar="INSTANT",
        help="not before then, as in 2030-01-31T12:00:00Z",
    )
    time.add_argument(
        "--delay", type=options.seconds, metavar="S", help="not before so many seconds"
    )


def _add_reschedule(parser: ArgumentParser) -> None:
    options.add_target(parser)
    parser.add_argument("id", type=options.id_of_job, metavar="ID", help="the job's id")
    _add_time(parser)
    parser.add_argument(
        "--priority", type=options.priority, help="urgent, normal, batch or a number"
    )
    parser.add_argument("--queue", help="move it to this queue")


def enqueue(args: Namespace) -> int:
    """Store a job.

    With --app the payload is checked against the handler, without it by the worker.
    """
    payload = _payload(args.payload)
    given = {
        "queue": args.queue,
        "priority": args.priority,
        "run_at": args.at,
        "delay": args.delay,
        "max_attempts": args.max_attempts,
        "timeout": args.timeout,
        "expires_at": args.expires_at,
        "unique_key": args.unique_key,
        "owner": args.owner,
        "keep": False if args.no_keep else args.keep,
        "metadata": None if args.metadata is None else _json(args.metadata, "--metadata"),
    }
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if args.no_timeout:
        chosen["timeout"] = None
    with opened(args, new=True) as queue:
        job = queue.enqueue(args.type, payload, **chosen)
    if args.json:
        print_json(job.to_dict())
    elif job.created:
        print(f"enqueued {_named(job)}")
    else:
        print(f"nothing enqueued: {_named(job)} has the same unique key and payload")
    return 0


def _payload(text: str | None) -> Any:
    if text is None:
        return None
    return _json(sys.stdin.read() if text == "-" else text, "the payload")


def _json(text: str, what: str) -> Any:
    try:
        return loads(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise OptionError(f"{what} is not JSON: {error}: {text:.200}") from None


def _named(job: Job) -> str:
    return printable(f"{job.id} ({job.type}, queue {job.queue}, {job.status})")


def reschedule(args: Namespace) -> int:
    """Give a job that has not started another time, priority or queue."""
    if args.at is args.delay is args.priority is args.queue is None:
        raise OptionError("reschedule needs --at, --delay, --priority or --queue")
    with opened(args) as queue:
        job = queue.reschedule(
            args.id, run_at=args.at, delay=args.delay, priority=args.priority, queue=args.queue
        )
    if args.json:
        print_json(job.to_dict())
    else:
        print(f"rescheduled {_named(job)}, to be run at {job.run_at.isoformat()}")
    return 0


def retry(args: Namespace) -> int:
    """Run jobs again, now, with all their attempts.

    Failed, cancelled and parked jobs; a running attempt is disowned. Name them, or filter them.
    """
    return _move(args, "retry")


def cancel(args: Namespace) -> int:
    """Cancel jobs; running ones are asked to stop.

    Name them, or filter them.
    """
    return _move(args, "cancel")


def delete(args: Namespace) -> int:
    """Delete finished jobs and their history.

    Name them, or filter them.
    """
    return _move(args, "delete")


def _move(args: Namespace, verb: str) -> int:
    which = options.filters(args)
    if args.ids and (which or args.dry_run):
        raise OptionError(f"{verb} takes ids, or filters with or without --dry-run, not both")
    if not args.ids and not which:
        raise OptionError(
            f"{verb} what? Give ids, or a filter: --status, --type, --queue or --owner"
        )
    return _move_these(args, verb) if args.ids else _move_where(args, verb, which)


def _move_where(args: Namespace, verb: str, which: dict[str, Any]) -> int:
    with opened(args) as queue:
        count = getattr(queue, f"{verb}_where")(**which, dry_run=args.dry_run)
    if args.json:
        print_json({"count": count, "dryRun": args.dry_run})
        return 0
    more = "; there may be more, run it again" if count >= MANY else ""
    print(f"{f'would {verb}' if args.dry_run else DONE[verb]} {count} jobs{more}")
    return 0


def _move_these(args: Namespace, verb: str) -> int:
    """Move one job after the other; those that refuse do not keep the others from it."""
    moved: list[str] = []
    jobs: list[dict[str, Any]] = []
    refused: list[tuple[str, JobqError]] = []
    with opened(args) as queue:
        move: Callable[[str], Job | None] = getattr(queue, verb)
        for id in args.ids:
            try:
                job = move(id)
            except (BackendError, SchemaError):
                raise
            except JobqError as error:
                refused.append((id, error))
                continue
            moved.append(_moved(verb, id, job))
            jobs.append({"id": id} if job is None else job.to_dict())
    _report(args, moved, jobs, refused)
    return 1 if refused else 0


def _moved(verb: str, id: str, job: Job | None) -> str:
    if job is None:
        return f"{DONE[verb]} {id}"
    if verb == "cancel" and not job.status.finished:
        return f"asked to stop: {_named(job)}"
    return f"{DONE[verb]} {_named(job)}"


def _report(
    args: Namespace,
    moved: list[str],
    jobs: list[dict[str, Any]],
    refused: list[tuple[str, JobqError]],
) -> None:
    if args.json:
        errors = [
            {"id": id, "error": type(error).__name__, "message": mask(str(error))}
            for id, error in refused
        ]
        print_json({"jobs": jobs, "errors": errors})
        return
    for line in moved:
        print(line)
    for _, error in refused:
        print(f"jobq: {mask(str(error))}", file=sys.stderr)
