"""What `manage.py jobq_worker` logs, by Django's `--verbosity`."""

from __future__ import annotations

import logging

from jobq.cli._logging import job_handler, number_of

LOGGERS = ("jobq", "django.tasks", "django_tasks")
_LEVELS = {0: "CRITICAL", 1: "INFO"}


def set_up_logging(verbosity: int, level: str | None) -> None:
    """Let the worker be heard; a logger that the project has given a handler keeps that alone."""
    number = number_of(level or _LEVELS.get(verbosity, "DEBUG"))
    handler = job_handler()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(number)
        if not logger.hasHandlers():
            logger.addHandler(handler)
