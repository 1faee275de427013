"""Commands about schedules: list, pause, resume."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from jobq.cli import _options as options
from jobq.cli._app import opened
from jobq.cli._output import iso, moment, print_json, print_table, say

if TYPE_CHECKING:
    from jobq._cron import ScheduleInfo
    from jobq.cli._options import Commands


COLUMNS = ("SCHEDULE", "TYPE", "EXPRESSION", "ZONE", "NEXT TICK", "LAST TICK", "LAST JOB", "STATE")


def add(commands: Commands) -> None:
    """Add the commands of this file."""
    parser = options.add_command(commands, schedules, "schedules")
    options.add_target(parser)
    actions: Any = parser.add_subparsers(
        title="actions",
        metavar="ACTION",
        help="what to do with a schedule; without one, list all",
    )
    for run, name in ((pause, "pause"), (resume, "resume")):
        action = options.add_command(actions, run, name)
        options.add_target(action, again=True)
        action.add_argument("name", metavar="NAME", help="as `jobq schedules` shows it")


def schedules(args: Namespace) -> int:
    """Show the schedules: when they tick next, and what became of the last tick's job."""
    with opened(args) as queue:
        found = queue.schedules()
    if args.json:
        print_json([details(info) for info in found])
    elif not found:
        print("no schedules; workers store those that their code declares")
    else:
        print_table(COLUMNS, map(_row, found))
    return 0


def _row(info: ScheduleInfo) -> tuple[object, ...]:
    following = info.next_tick if _state(info) == "on" else None
    what = (info.name, info.type, info.expression, info.tz)
    return (*what, following, info.last_tick, info.last_status, _state(info))


def _state(info: ScheduleInfo) -> str:
    if info.paused:
        return "paused"
    return "on" if info.declared else f"off: no worker has it since {moment(info.seen_at)}"


def details(info: ScheduleInfo) -> dict[str, Any]:
    """A schedule, in JSON."""
    return {
        "name": info.name,
        "type": info.type,
        "expression": info.expression,
        "tz": info.tz,
        "catchUp": info.catch_up,
        "overlap": info.overlap,
        "paused": info.paused,
        "declared": info.declared,
        "seenAt": iso(info.seen_at),
        "nextTick": iso(info.next_tick),
        "lastTick": iso(info.last_tick),
        "lastJobId": info.last_job_id,
        "lastStatus": info.last_status,
    }


def pause(args: Namespace) -> int:
    """Let a schedule tick no more, until it is resumed."""
    with opened(args) as queue:
        queue.pause_schedule(args.name)
    return say(args, f"paused {args.name}", name=args.name, paused=True)


def resume(args: Namespace) -> int:
    """Let a schedule tick again, from now on: what it missed meanwhile is not made up for."""
    with opened(args) as queue:
        queue.resume_schedule(args.name)
    return say(args, f"resumed {args.name}", name=args.name, paused=False)
