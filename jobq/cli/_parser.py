"""The command line as a whole."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter

import jobq
from jobq.cli import (
    _artifacts,
    _change,
    _dashboard,
    _inspect,
    _limits,
    _queue,
    _schedules,
    _spend,
    _watch,
    _webhooks,
    _worker,
)

_EPILOG = """\
environment:
  JOBQ_APP                              the app, as in app:queue
  JOBQ_DATABASE_URL, DATABASE_URL       the database, where no app is given
  JOBQ_QUEUES                           worker --queues
  JOBQ_CONCURRENCY, WORKER_CONCURRENCY  worker --concurrency
  JOBQ_LEASE, JOBQ_GRACE                worker --lease, --grace
  JOBQ_WORKER_ID, WORKER_ID             worker --label
  JOBQ_PORT, PORT                       worker --port
  JOBQ_DASHBOARD_USERS                  names and passwords of the dashboard
  JOBQ_ARTIFACTS, R2_BUCKET_NAME, …     where artifacts are, where no app is given
  MAX_JOBS_PER_SECOND                   a limit of the queue "default"
  JOBQ_LOG_LEVEL                        worker --log-level

exit codes:
   0  done
   1  a job's state did not allow it, or the app failed
   2  wrong usage or configuration
   3  the database is out of reach, or its schema does not fit
   4  a job that is watched has not ended in time
  70  a worker ended because all its handlers hang
"""


def build_parser() -> ArgumentParser:
    """The parser of `jobq`; the parsed arguments have the command's function as `run`."""
    parser = ArgumentParser(
        prog="jobq",
        description="Run jobs, look at them, move them.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"jobq {jobq.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for part in (
        _worker,
        _queue,
        _inspect,
        _watch,
        _change,
        _limits,
        _schedules,
        _spend,
        _artifacts,
        _webhooks,
        _dashboard,
    ):
        part.add(commands)
    return parser
