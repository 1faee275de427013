"""The command line of an example."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from examples.trial.trial import Check, Trial

BROKEN = ("limits", "fence")
"""What the workers' jobq may lack; `broken.py` sees to it."""


def main(
    check: Check, play: Check, *, postgres: bool = False, given: list[str] | None = None
) -> int:
    """Check an example, or start it with `play` until Ctrl-C; the exit code.

    With `postgres` it runs on nothing else.
    """
    options = _parser().parse_args(given)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with all that was started
    broken = BROKEN if options.broken == "all" else tuple(filter(None, [options.broken]))
    began = time.monotonic()
    with Trial(broken, postgres=postgres) as trial:
        if options.check:
            check(trial)
        else:
            _go_on(trial, play)
    if options.check:
        print(trial.table)
        missed = trial.table.missed
        print(f"{len(missed)} of {len(trial.table.rows)} missed, {time.monotonic() - began:.0f} s")
    return 1 if trial.table.missed else 0


def _go_on(trial: Trial, play: Check) -> None:
    play(trial)
    print("Ctrl-C ends it.", flush=True)
    try:
        while all(process.alive for process in trial.processes):
            time.sleep(0.5)
    except KeyboardInterrupt:
        return


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run the example, or check it.")
    parser.add_argument("--check", action="store_true", help="check it, and exit 1 on any miss")
    parser.add_argument(
        "--broken",
        nargs="?",
        const="all",
        choices=["all", *BROKEN],
        help="with --check: with workers whose jobq lacks its limits, its fence, or both",
    )
    return parser
