"""Configuration by environment variables."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from attrs import field, frozen

from jobq._errors import ConfigurationError
from jobq._masking import shown_url


@frozen(kw_only=True)
class Settings:
    """What the environment says; each is also an option of the CLI or an argument in code."""

    database_url: str | None = field(default=None, repr=lambda url: repr(url and shown_url(url)))
    app: str | None = None
    queues: str | None = None
    concurrency: int | None = None
    worker_id: str | None = None
    port: int | None = None
    lease: float | None = None
    grace: float | None = None
    jobs_per_second: float | None = None
    """A limit of the whole queue "default"."""
    log_level: str = "INFO"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read `JOBQ_*`, and the names that platforms use: `DATABASE_URL`, `PORT` and so on."""

        def text(*names: str) -> str | None:
            return next((environ[name] for name in names if environ.get(name)), None)

        return cls(
            database_url=text("JOBQ_DATABASE_URL", "DATABASE_URL"),
            app=text("JOBQ_APP"),
            queues=text("JOBQ_QUEUES"),
            concurrency=_integer(environ, "JOBQ_CONCURRENCY", "WORKER_CONCURRENCY"),
            worker_id=text("JOBQ_WORKER_ID", "WORKER_ID"),
            port=_integer(environ, "JOBQ_PORT", "PORT"),
            lease=_seconds(environ, "JOBQ_LEASE"),
            grace=_seconds(environ, "JOBQ_GRACE"),
            jobs_per_second=_seconds(environ, "MAX_JOBS_PER_SECOND"),
            log_level=(text("JOBQ_LOG_LEVEL") or "INFO").upper(),
        )


def _integer(environ: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        if environ.get(name):
            try:
                return int(environ[name])
            except ValueError:
                raise ConfigurationError(f"{name}={environ[name]!r} is not an integer") from None
    return None


def _seconds(environ: Mapping[str, str], name: str) -> float | None:
    if not environ.get(name):
        return None
    try:
        value = float(environ[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigurationError(f"{name}={environ[name]!r} is not a number of seconds")
    return value
