"""How long and how much one call of the drive endpoint may work: decisions about values."""

from __future__ import annotations

import os
from collections.abc import Mapping

from attrs import frozen

from jobq._errors import ConfigurationError
from jobq._settings import Settings

PLATFORMS = {"VERCEL": 50.0, "AWS_LAMBDA_FUNCTION_NAME": 25.0, "K_SERVICE": 290.0}
"""Seconds that a request may take where one of these is set, less some for the way."""
ELSEWHERE = 50.0
AFTERWARDS = 10.0
"""Seconds by which leases outlast the budget."""
LONGEST_LEASE = 30.0
USUAL_CONCURRENCY = 10


@frozen(kw_only=True)
class Budget:
    """What one call may take: `seconds` from its start, `max_jobs`, and jobs at a time."""

    seconds: float
    max_jobs: int
    concurrency: int

    @property
    def reserve(self) -> float:
        """The seconds at the end that are for giving back what has not finished."""
        return min(2.0, self.seconds / 10)

    @property
    def lease(self) -> float:
        return min(LONGEST_LEASE, self.seconds + AFTERWARDS)


def seconds_of(given: float | None, environ: Mapping[str, str] = os.environ) -> float:
    """The time budget: as given, as `JOBQ_TIME_BUDGET` says, or as the platform allows."""
    if given is None and environ.get("JOBQ_TIME_BUDGET"):
        try:
            given = float(environ["JOBQ_TIME_BUDGET"])
        except ValueError:
            given = -1.0
    if given is None:
        given = next((t for name, t in PLATFORMS.items() if environ.get(name)), ELSEWHERE)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 1 <= given <= 3600:
        raise ConfigurationError(f"the time budget must be from 1 to 3600 seconds, not {given!r}")
    return float(given)


def concurrency_of(given: int | None, environ: Mapping[str, str] = os.environ) -> int:
    """Jobs at a time: as given, as `WORKER_CONCURRENCY` says, or 10."""
    if given is None:
        given = Settings.from_environment(environ).concurrency or USUAL_CONCURRENCY
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ConfigurationError(f"concurrency={given!r} must be a whole number from 1")
    return given
