"""The provider as a program."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from dataclasses import fields
from pathlib import Path

from examples.fakegemini.options import Options
from examples.fakegemini.outcomes import Faults
from examples.fakegemini.running import run

_FAULTS = {
    "error": "500",
    "overloaded": "503 or 529",
    "refused": "kept back by the safety filter",
    "no-image": "a good answer without its image",
    "hang": "done and billed, but never answered",
    "reset": "done and billed, then the connection is reset",
}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.fakegemini",
        description="A fake provider of AI models. GET /ledger tells what was asked of it.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765, help="0: a free one")
    _limits(parser.add_argument_group("limits of each project and model"))
    _behaviour(parser.add_argument_group("behaviour"))
    chances = parser.add_argument_group("faults, each a probability from 0 to 1")
    for name, meaning in _FAULTS.items():
        chances.add_argument(f"--{name}", type=float, default=0.0, metavar="P", help=meaning)
    return parser.parse_args(given)


def _limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--rpm", type=int, metavar="N", help="requests a minute")
    group.add_argument("--tpm", type=int, metavar="N", help="tokens of prompts a minute")
    group.add_argument(
        "--rpd", type=int, metavar="N", help="requests a day, from midnight in California"
    )
    group.add_argument(
        "--window", choices=["sliding", "fixed", "bucket"], default="sliding", help="of a minute"
    )
    group.add_argument("--burst", type=int, metavar="N", help="requests that a bucket keeps")
    group.add_argument(
        "--project",
        action="append",
        default=[],
        metavar="KEY=PROJECT",
        help="a key and its project; may be repeated, and then other keys are refused",
    )


def _behaviour(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--speed",
        type=float,
        default=1.0,
        metavar="X",
        help="minutes and latencies so much shorter",
    )
    group.add_argument("--seed", type=int, default=0, metavar="N")
    group.add_argument("--latency", type=float, default=1.0, metavar="SECONDS", help="the median")
    group.add_argument("--spread", type=float, default=0.3, metavar="SIGMA", help="of latencies")
    group.add_argument("--video-seconds", type=float, default=20.0, metavar="SECONDS")
    group.add_argument("--ledger", type=Path, metavar="FILE", help="add a line for each request")


def options(given: argparse.Namespace) -> Options:
    """The options that the arguments ask for.

    Raises:
        ValueError: a number makes no sense, or a project has no key.
    """
    faults = Faults(**{field.name: getattr(given, field.name) for field in fields(Faults)})
    plain = {
        field.name: getattr(given, field.name)
        for field in fields(Options)
        if field.name not in {"faults", "models", "prices", "projects"}
    }
    return Options(**plain, faults=faults, projects=_projects(given.project))


def _projects(given: list[str]) -> dict[str, str] | None:
    found = {}
    for one in given:
        key, equals, project = one.partition("=")
        if not (key and equals and project):
            raise ValueError(f"--project must be KEY=PROJECT, not {one!r}")
        found[key] = project
    return found or None


async def _serve(wanted: Options, host: str, port: int) -> None:
    serving = asyncio.ensure_future(run(wanted, host, port, lambda url: print(url, flush=True)))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


def main() -> int:
    given = arguments()
    try:
        wanted = options(given)
        asyncio.run(_serve(wanted, given.host, given.port))
    except (OSError, ValueError) as error:
        print(f"fakegemini: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
