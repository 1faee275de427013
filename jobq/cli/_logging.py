"""What a worker's log looks like, where the app has not set up logging itself."""

from __future__ import annotations

import logging

from jobq._errors import ConfigurationError
from jobq._masking import mask
from jobq.observe import name_jobs_in_log_records


class JobFormatter(logging.Formatter):
    """Time, level, logger, message, and the job that a record is about; secrets are masked."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-8s %(name)s: %(job)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        job_id = getattr(record, "job_id", None)
        job_type = getattr(record, "job_type", None)
        named = not job_id or job_id in record.getMessage()
        record.job = "" if named else f"[{job_type} {job_id}] "
        return mask(super().format(record))


def set_up_logging(level: str) -> None:
    """Log to standard error. Does nothing where the app has configured the root logger."""
    logging.basicConfig(level=number_of(level), handlers=[job_handler()])


def number_of(level: str) -> int:
    """The number of a log level. Raises `ConfigurationError` where there is none of that name."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ConfigurationError(
            f"log level {level!r} is none of DEBUG, INFO, WARNING, ERROR, CRITICAL"
        )
    return number


def job_handler() -> logging.Handler:
    """A handler for standard error whose lines name the jobs that they are about."""
    name_jobs_in_log_records()
    handler = logging.StreamHandler()
    handler.setFormatter(JobFormatter())
    return handler
