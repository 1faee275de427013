"""System checks: the setting `JOBQ`, and what its database lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.core import checks
from django.db import Error
from django.db.utils import ConnectionDoesNotExist

from jobq._errors import ConfigurationError
from jobq.contrib.django import _database, _settings, queue
from jobq.contrib.django._config import queue_config

SETTING, DATABASE, SQLITE = "jobq.E001", "jobq.E002", "jobq.W001"


def register() -> None:
    """Make `manage.py check` call what is here."""
    checks.register(check_settings)
    checks.register(check_databases, checks.Tags.database)


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Whether the setting can be used."""
    from jobq.http import JobsApi  # which a worker need not load

    try:
        _settings.database()
        queue_config(_settings.database())
        _settings.worker_options()
        JobsApi(queue, **_settings.http_options())
    except (ConfigurationError, TypeError, ValueError) as error:
        return [checks.Error(str(error), id=SETTING)]
    try:
        _database.vendor(_settings.database())
    except ConfigurationError as error:
        return [checks.Error(str(error), id=DATABASE)]
    return []


def check_databases(databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """Whether SQLite is set up for several writers.

    Only for the databases that a command is about, as `manage.py migrate` names them.
    """
    try:
        alias = _settings.database()
    except ConfigurationError:
        return []  # the other check tells
    return [*_of_one(alias)] if alias in (databases or ()) else []


def _of_one(alias: str) -> Iterable[checks.CheckMessage]:
    try:
        lacking = _database.advice(alias)
    except (ConfigurationError, ConnectionDoesNotExist, Error):
        return
    if lacking:
        yield checks.Warning(
            f"DATABASES[{alias!r}] is not set up for jobq's workers to write beside the site.",
            hint=f'Give it "OPTIONS": {{{", ".join(lacking)}}}, or expect "database is locked".',
            id=SQLITE,
        )
