"""Commands about artifacts: list those of a job, sweep what was left behind."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from jobq.cli import _options as options
from jobq.cli._app import opened
from jobq.cli._output import print_json, print_table

if TYPE_CHECKING:
    from jobq.cli._options import Commands

COLUMNS = ("NAME", "TYPE", "BYTES", "STATUS", "STEP", "CREATED", "KEY")


def add(commands: Commands) -> None:
    """Add the commands of this file."""
    parser = commands.add_parser(
        "artifacts",
        help="Look at what jobs have saved, and sweep what was left behind",
        description="Look at what jobs have saved, and sweep what was left behind.",
        allow_abbrev=False,
    )
    options.add_target(parser)
    actions: Any = parser.add_subparsers(
        title="actions", metavar="ACTION", required=True, help="what to do"
    )
    listing = options.add_command(actions, show, "list")
    options.add_target(listing, again=True)
    listing.add_argument("id", type=options.id_of_job, metavar="ID", help="the job")
    _add_sweep(options.add_command(actions, sweep, "sweep"))


def _add_sweep(parser: ArgumentParser) -> None:
    options.add_target(parser, again=True)
    parser.add_argument(
        "--older-than",
        type=options.seconds,
        default=86400.0,
        metavar="S",
        help="seconds since its job has finished (default: 86400)",
    )
    parser.add_argument("--delete", action="store_true", help="delete it, instead of only looking")


def show(args: Namespace) -> int:
    """Show what a job has saved, also where the job has been pruned."""
    with opened(args) as queue:
        found = queue.artifacts(args.id)
    if args.json:
        print_json([one.to_dict() for one in found])
    elif not found:
        print("it has saved nothing")
    else:
        rows = (
            (a.name, a.content_type, a.bytes, a.status, a.step, a.created_at, a.key) for a in found
        )
        print_table(COLUMNS, rows)
    return 0


def sweep(args: Namespace) -> int:
    """Count what was uploaded and never became part of an outcome; with --delete, delete it.

    Goes by jobq's rows, not by what is in the storage. What is stored stays, also when its job has
    been pruned.
    """
    with opened(args) as queue:
        swept = queue.sweep_artifacts(older_than=args.older_than, dry_run=not args.delete)
    what = f"{swept.objects} objects of {swept.bytes} bytes, {swept.rows} rows"
    if args.json:
        counts = {"rows": swept.rows, "objects": swept.objects, "bytes": swept.bytes}
        print_json(counts | {"dryRun": swept.dry_run})
    elif swept.dry_run and swept.rows:
        print(f"would delete {what}; --delete does it")
    else:
        print(f"deleted {what}" if swept.rows else "nothing to sweep")
    return 0
