"""Commands about webhooks: list them, and enable those that are disabled."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from jobq.cli import _options as options
from jobq.cli._app import opened
from jobq.cli._output import iso, print_json, print_table, say

if TYPE_CHECKING:
    from jobq.cli._options import Commands
    from jobq.webhooks import WebhookInfo


COLUMNS = ("WEBHOOK", "STATE", "SINCE", "REASON")


def add(commands: Commands) -> None:
    """Add the commands of this file."""
    parser = options.add_command(commands, webhooks, "webhooks")
    options.add_target(parser)
    actions: Any = parser.add_subparsers(
        title="actions",
        metavar="ACTION",
        help="what to do with a webhook; without one, list all",
    )
    action = options.add_command(actions, enable, "enable")
    options.add_target(action, again=True)
    action.add_argument("name", metavar="NAME", help="as `jobq webhooks` shows it")


def webhooks(args: Namespace) -> int:
    """Show the webhooks of the app, and those that are disabled."""
    with opened(args) as queue:
        found = queue.webhooks()
    if args.json:
        print_json([details(info) for info in found])
    elif not found:
        print("no webhooks; the app names them in Queue(webhooks=…)")
    else:
        print_table(COLUMNS, map(_row, found))
    return 0


def _row(info: WebhookInfo) -> tuple[object, ...]:
    state = "on" if info.disabled_at is None else "disabled"
    return info.name, state, info.disabled_at, info.reason


def details(info: WebhookInfo) -> dict[str, Any]:
    """A webhook, in JSON."""
    return {
        "name": info.name,
        "known": info.known,
        "disabledAt": iso(info.disabled_at),
        "reason": info.reason,
    }


def enable(args: Namespace) -> int:
    """Send an endpoint messages again that was disabled because it answered 410."""
    with opened(args) as queue:
        queue.enable_webhook(args.name)
    return say(args, f"enabled {args.name}", name=args.name, disabledAt=None)
