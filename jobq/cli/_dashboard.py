"""The command that shows the dashboard."""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from jobq._errors import ConfigurationError
from jobq.cli import _options as options
from jobq.cli._app import find_queue

if TYPE_CHECKING:
    from jobq.cli._options import Commands

VARIABLE = "JOBQ_DASHBOARD_USERS"
PORT = 8020


def add(commands: Commands) -> None:
    """Add the command of this file."""
    parser = options.add_command(commands, dashboard, "dashboard")
    parser.add_argument(
        "app", nargs="?", metavar="MODULE:QUEUE", help="the queue of an app, as in app:queue"
    )
    parser.add_argument("--url", help="the database, as in sqlite:///jobs.db or postgresql://…")
    parser.add_argument(
        "--host", default="127.0.0.1", help="where to listen (default 127.0.0.1: this machine)"
    )
    parser.add_argument(
        "--port", type=options.port, default=PORT, metavar="N", help=f"the port (default {PORT})"
    )
    parser.add_argument("--read-only", action="store_true", help="let nobody change anything")
    parser.add_argument("--title", default="jobq", help="what stands at the top of each page")


def dashboard(args: Namespace) -> int:
    """Show the dashboard in a browser, until it is stopped.

    On this machine it asks for no password. To be reached from others, give names and passwords
    as JOBQ_DASHBOARD_USERS=ada:password,bob:password, and put HTTPS before it.
    """
    from jobq.http.dashboard import Dashboard, serve
    from jobq.http.dashboard.server import Local, is_local

    if args.app is not None and args.url is not None:
        raise ConfigurationError("give an app or --url, not both")
    users = users_of(os.environ.get(VARIABLE, ""))
    if not users and not is_local(args.host):
        raise ConfigurationError(
            f"--host {args.host} is reachable for others: set {VARIABLE}=name:password"
        )
    access: Any = _passwords(users, args.read_only) if users else Local(read_only=args.read_only)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    queue = find_queue(args.url, args.app)
    page = Dashboard(queue, access=access, title=args.title)
    with queue, serve(page, args.host, args.port) as server:
        print(f"the dashboard is at http://{_shown(args.host)}:{server.server_port}/", flush=True)
        server.serve_forever()
    return 0


def users_of(text: str) -> dict[str, str]:
    """The names and passwords that an environment variable holds."""
    from jobq.http.keys import SHORTEST

    users: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, colon, password = pair.partition(":")
        if not (name and colon and password):
            raise ConfigurationError(f"{VARIABLE} must be name:password, with commas between pairs")
        if len(password) < SHORTEST:
            raise ConfigurationError(
                f"{VARIABLE}: the password of {name!r:.50} must have at least {SHORTEST} letters"
            )
        users[name] = password
    return users


def _passwords(users: dict[str, str], read_only: bool) -> Any:
    from jobq.http.dashboard import Passwords

    return Passwords(users, readers=users if read_only else ())


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
