"""The command `jobq`: run workers, look at jobs, move them.

Exit codes: 0 it is done; 1 a job's state did not allow it; 2 wrong usage or configuration; 3 the
database cannot be reached, or its schema does not fit; 4 a job that is watched has not ended in
time; 70 a worker whose handlers all hang.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from jobq._errors import (
    BackendError,
    ConfigurationError,
    JobqError,
    OptionError,
    SchemaError,
    WaitTimeout,
)
from jobq._masking import hide_environment, mask
from jobq.cli._leaving import leave_within
from jobq.cli._parser import build_parser
from jobq.cli._queue import add_days, clean_up, show_state
from jobq.cli._worker import add_worker_arguments, make_worker, reload_worker, run_worker, serve

REFUSED, USAGE, DATABASE, UNFINISHED = 1, 2, 3, 4
EXIT_PATIENCE = 5.0
"""Seconds that threads and exit hooks of an app get once a command is done."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; argparse exits by itself on `--help` and typos.

    Without `argv` this is the process's own command line, and the process will end soon after.

    >>> main(["status", "--url", "sqlite:///jobs.db"])  # doctest: +SKIP
    0
    """
    args = build_parser().parse_args(argv)
    hide_environment()
    code = _run(args)
    if argv is None:
        leave_within(EXIT_PATIENCE, code)
    return code


def _run(args: Namespace) -> int:
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except JobqError as error:
        _complain(error)
        return exit_code(error)
    return code


def _complain(error: JobqError) -> None:
    for note in getattr(error, "__notes__", ()):
        print(mask(note), file=sys.stderr)
    print(f"jobq: {mask(str(error))}", file=sys.stderr)


def exit_code(error: JobqError) -> int:
    """The exit code for an error that ended a command."""
    if isinstance(error, ConfigurationError | OptionError):
        return USAGE
    if isinstance(error, BackendError | SchemaError):
        return DATABASE
    return UNFINISHED if isinstance(error, WaitTimeout) else REFUSED


__all__ = [
    "add_days",
    "add_worker_arguments",
    "clean_up",
    "exit_code",
    "main",
    "make_worker",
    "reload_worker",
    "run_worker",
    "serve",
    "show_state",
]
