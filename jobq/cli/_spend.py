"""The command about money."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from jobq._spend import GROUPS
from jobq.cli import _options as options
from jobq.cli._app import opened
from jobq.cli._output import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobq._spend import SpendTotal
    from jobq.cli._options import Commands


def add(commands: Commands) -> None:
    """Add the command of this file."""
    parser = options.add_command(commands, spend, "spend")
    options.add_target(parser)
    parser.add_argument(
        "--by", choices=GROUPS, default="type", help="what to add up by; by default the type"
    )
    parser.add_argument("--since", type=options.instant, metavar="INSTANT", help="not before then")
    parser.add_argument("--until", type=options.instant, metavar="INSTANT", help="before then")
    parser.add_argument("--type", help="of jobs of this type")
    parser.add_argument("--owner", help="of this owner's jobs")
    parser.add_argument("--job", type=options.id_of_job, metavar="ID", help="of this job")
    parser.add_argument("--tz", default="UTC", help="whose days, as in Europe/Berlin")


def spend(args: Namespace) -> int:
    """Show what jobs have spent: the largest sums first, or the latest days."""
    with opened(args) as queue:
        totals = queue.spend(
            args.by,
            since=args.since,
            until=args.until,
            type=args.type,
            owner=args.owner,
            job=args.job,
            tz=args.tz,
        )
    if args.json:
        print_json([total.to_dict() for total in totals])
    elif not totals:
        print("nothing was spent; handlers record what they spend with job.spend()")
    else:
        print_table((args.by.upper(), "USD", "REQUESTS", "USD IN RETRIES"), _rows(totals))
    return 0


def _rows(totals: Iterable[SpendTotal]) -> Iterable[tuple[Any, ...]]:
    yield from ((one.key, one.usd, one.requests, one.retried_usd) for one in totals)
    count = sum(one.requests for one in totals)
    usd, retried = (sum(getattr(one, name) for one in totals) for name in ("usd", "retried_usd"))
    yield ("total", usd, count, retried)
