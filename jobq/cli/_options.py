"""Options that commands share, and how their values are read."""

from __future__ import annotations

import math
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, _SubParsersAction
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jobq._checks import priority_number
from jobq._errors import OptionError
from jobq._model import job_id, statuses

if TYPE_CHECKING:
    Commands = _SubParsersAction[ArgumentParser]

FILTERS = ("status", "type", "queue", "owner", "batch")


def add_command(commands: Commands, run: Callable[[Namespace], int], name: str) -> ArgumentParser:
    """A command whose help is the docstring of the function that runs it."""
    description = (run.__doc__ or "").strip()
    summary = description.partition("\n")[0].rstrip(".")
    parser = commands.add_parser(name, help=summary, description=description, allow_abbrev=False)
    parser.set_defaults(run=run)
    return parser


def add_target(parser: ArgumentParser, *, again: bool = False) -> None:
    """Where the jobs are, and how to print what is found.

    `again` is for a command within a command: what is left out there may have been said before.
    """
    where = parser.add_mutually_exclusive_group()
    url = "the database, as in sqlite:///jobs.db or postgresql://…"
    app = "the queue of an app, as in app:queue"
    actions = (
        where.add_argument("--url", help=url),
        where.add_argument("--app", metavar="MODULE:QUEUE", help=app),
        parser.add_argument("--json", action="store_true", help="print JSON"),
    )
    for action in actions if again else ():
        action.default = SUPPRESS


def add_filters(parser: ArgumentParser) -> None:
    """Which jobs; those left out fit all."""
    parser.add_argument(
        "--status", type=status_list, metavar="A,B", help="jobs in one of these statuses"
    )
    parser.add_argument("--type", help="jobs of this type")
    parser.add_argument("--queue", help="jobs in this queue")
    parser.add_argument("--owner", help="jobs of this owner")
    parser.add_argument("--batch", type=id_of_job, metavar="ID", help="jobs of this batch")


def filters(args: Namespace) -> dict[str, Any]:
    """The filters that were given."""
    given = {name: getattr(args, name) for name in FILTERS}
    return {name: value for name, value in given.items() if value is not None}


def _checked(check: Callable[[Any], Any], value: Any) -> Any:
    try:
        return check(value)
    except OptionError as error:
        raise ArgumentTypeError(str(error)) from None


def name_list(text: str) -> list[str]:
    """Names between commas."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ArgumentTypeError(f"{text!r} must be names between commas, as in emails,images")
    return names


def status_list(text: str) -> tuple[str, ...]:
    """Statuses between commas."""
    found: tuple[str, ...] = _checked(statuses, name_list(text))
    return found


def id_of_job(text: str) -> str:
    """A job's id."""
    return str(_checked(job_id, text))


def priority(text: str) -> int:
    """A priority, as a word or a number."""
    try:
        value: int | str = int(text)
    except ValueError:
        value = text
    return int(_checked(priority_number, value))


def instant(text: str) -> datetime:
    """An ISO 8601 instant with its time zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no instant; write 2030-01-31T12:00:00Z") from None
    if moment.utcoffset() is None:
        raise ArgumentTypeError(
            f"{text!r} has no time zone; write {text}Z for UTC, or an offset such as +02:00"
        )
    return moment


def seconds(text: str) -> float:
    """A number of seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ArgumentTypeError(f"{text!r} must be a number of seconds, 0 or more")
    return value


def days(text: str) -> float:
    """A number of days, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ArgumentTypeError(f"{text!r} must be a number of days, 0 or more")
    return value


def count(text: str) -> int:
    """An integer of at least 1."""
    value = int(text) if text.isascii() and text.isdigit() else 0
    if value < 1:
        raise ArgumentTypeError(f"{text!r} must be an integer of at least 1")
    return value


def count_or_none(text: str) -> int:
    """An integer of at least 0."""
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} must be an integer of at least 0")
    return int(text)


def port(text: str) -> int:
    """A TCP port; 0 is any free one."""
    value = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= value <= 65535:
        raise ArgumentTypeError(f"{text!r} must be a port from 0 to 65535")
    return value
