"""What `manage.py jobq_worker` logs, by Django's `--verbosity`."""

from __future__ import annotations

import logging

from jobq._errors import ConfigurationError
from jobq.cli._logging import JobFormatter
from jobq.observe import name_jobs_in_log_records

LOGGERS = ("jobq", "django.tasks", "django_tasks")
_LEVELS = {0: "CRITICAL", 1: "INFO"}


def set_up_logging(verbosity: int, level: str | None) -> None:
    """Let the worker be heard; a logger that the project has given a handler keeps that alone."""
    named = (level or _LEVELS.get(verbosity, "DEBUG")).upper()
    number = logging.getLevelNamesMapping().get(named)
    if number is None:
        raise ConfigurationError(
            f"log level {level!r} is none of DEBUG, INFO, WARNING, ERROR, CRITICAL"
        )
    name_jobs_in_log_records()
    handler = logging.StreamHandler()
    handler.setFormatter(JobFormatter())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(number)
        if not logger.hasHandlers():
            logger.addHandler(handler)
