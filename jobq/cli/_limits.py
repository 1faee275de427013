"""Commands about limits: list, set, pause, resume, reset."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from attrs import evolve

from jobq._errors import ConfigurationError, OptionError
from jobq._limits import Concurrency, DailyQuota, RateLimit
from jobq.cli import _options as options
from jobq.cli._app import opened
from jobq.cli._output import iso, moment, print_json, print_table, say

if TYPE_CHECKING:
    from jobq._model import LimitInfo
    from jobq._queue import Queue
    from jobq.cli._options import Commands


COLUMNS = (
    "LIMIT",
    "ALLOWS",
    "USED",
    "FREE",
    "WAITING",
    "STARTED",
    "REFUSED",
    "NEXT START",
    "STATE",
)


def add(commands: Commands) -> None:
    """Add the commands of this file."""
    parser = options.add_command(commands, limits, "limits")
    options.add_target(parser)
    actions: Any = parser.add_subparsers(
        title="actions", metavar="ACTION", help="what to do with a limit; without one, list all"
    )
    change = _action(actions, set_numbers, "set")
    change.add_argument("--n", type=options.count, metavar="N", help="how many units")
    change.add_argument("--per", type=options.seconds, metavar="S", help="in so many seconds")
    change.add_argument("--max-cost", type=options.count, metavar="N", help="the burst, in units")
    close = _action(actions, pause, "pause")
    close.add_argument(
        "--until",
        type=options.instant,
        metavar="INSTANT",
        help="open by itself then, as in 2030-01-31T12:00:00Z",
    )
    close.add_argument("--reason", help="what to tell those who ask")
    _action(actions, resume, "resume")
    _action(actions, reset, "reset")


def _action(actions: Commands, run: Any, name: str) -> ArgumentParser:
    parser = options.add_command(actions, run, name)
    options.add_target(parser, again=True)
    parser.add_argument("key", metavar="KEY", help="the limit's key, as `jobq limits` shows it")
    return parser


def limits(args: Namespace) -> int:
    """Show the limits: what is used and free, who waits, what is closed and why.

    WAITING counts up to a thousand due jobs of each lane.
    """
    with opened(args) as queue:
        found = queue.limits()
    if args.json:
        print_json([details(info) for info in found])
    elif not found:
        print("no limits; workers store those that their handlers declare")
    else:
        print_table(COLUMNS, map(_row, found))
    return 0


def _row(info: LimitInfo) -> tuple[object, ...]:
    allows = info.description + (" (set)" if info.overridden else "")
    counts = (info.used, info.free, info.waiting, info.started, info.refused)
    return (info.key, allows or "-", *counts, info.next_start, _state(info))


def _state(info: LimitInfo) -> str:
    why = f": {info.reason}" if info.reason else ""
    if info.paused:
        return f"paused{why}"
    if info.blocked_until is not None:
        return f"closed until {moment(info.blocked_until)}{why}"
    return "open"


def details(info: LimitInfo) -> dict[str, Any]:
    """A limit, in JSON."""
    return {
        "key": info.key,
        "kind": info.kind,
        "description": info.description,
        "n": info.n,
        "used": info.used,
        "free": info.free,
        "waiting": info.waiting,
        "nextStart": iso(info.next_start),
        "blockedUntil": iso(info.blocked_until),
        "paused": info.paused,
        "reason": info.reason,
        "overridden": info.overridden,
        "started": info.started,
        "refused": info.refused,
    }


def set_numbers(args: Namespace) -> int:
    """Change a limit's numbers, for all workers and at once.

    They hold instead of what the code declares, until `jobq limits reset KEY`.
    """
    with opened(args) as queue:
        known = _find(queue, args.key).limit
        given = {"n": args.n, "per": args.per, "max_cost": args.max_cost}
        changes = {name: value for name, value in given.items() if value is not None}
        fields = {RateLimit: {"n", "per", "max_cost"}, DailyQuota: {"n"}, Concurrency: {"n"}}
        unfit = sorted(set(changes) - fields.get(type(known), set()))
        if not changes or unfit:
            wrong = f"it has no {', '.join(unfit)}" if unfit else "give --n, --per or --max-cost"
            raise OptionError(f"limit {args.key!r}: {wrong}")
        try:
            limit = evolve(known, **changes)
        except ConfigurationError as error:
            raise OptionError(str(error)) from None
        queue.set_limit(limit)
    return say(args, f"{args.key}: {limit.describe()}", key=args.key, description=limit.describe())


def _find(queue: Queue, key: str) -> LimitInfo:
    found = {info.key: info for info in queue.limits()}
    if key not in found:
        known = ", ".join(found) or "none"
        raise OptionError(f"there is no limit {key!r}; there are {known}")
    return found[key]


def pause(args: Namespace) -> int:
    """Start no job that needs a limit, until it is resumed; running ones go on."""
    with opened(args) as queue:
        _find(queue, args.key)
        queue.pause_limit(args.key, until=args.until, reason=args.reason)
    until = f" until {moment(args.until)}" if args.until else ""
    return say(args, f"paused {args.key}{until}", key=args.key, paused=True, until=iso(args.until))


def resume(args: Namespace) -> int:
    """Open a limit that was paused, or that a provider's refusal has closed."""
    with opened(args) as queue:
        queue.resume_limit(args.key)
    return say(args, f"resumed {args.key}", key=args.key, paused=False, until=None)


def reset(args: Namespace) -> int:
    """Open a limit, fill its bucket, and go back to the numbers that the code declares."""
    with opened(args) as queue:
        queue.reset_limit(args.key)
    return say(args, f"reset {args.key}", key=args.key, overridden=False)
