"""The setting `JOBQ`: what it may say, read when it is needed and never at import."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from jobq import _config
from jobq._errors import ConfigurationError

QUEUE = (
    "KEEP",
    "LIMITS",
    "BOUNDS",
    "BUDGET",
    "PER_OWNER",
    "STRICT_TYPES",
    "LIFESPAN",
    "OBSERVERS",
    "ARTIFACTS",
    "WEBHOOKS",
)
"""Options of the queue."""
WORKER = ("POOL_SIZE", "PREPARE", "LISTEN_URL", "PATIENCE", "STATEMENT_TIMEOUT")
"""Options of a worker's own connections to PostgreSQL."""
HTTP = (
    "OWNER",
    "ACCESS",
    "HIDE",
    "ALLOW",
    "DRIVE",
    "KEYS",
    "TIME_BUDGET",
    "CONCURRENCY",
    "AUTO_TRIGGER",
    "LONGEST_WAIT",
    "LONGEST_STREAM",
    "HEARTBEAT",
)
"""Options of `jobq.contrib.django.urls`."""
KNOWN = ("DATABASE", *QUEUE, *WORKER, *HTTP)


def given() -> dict[str, Any]:
    """The setting as it stands. Raises `ConfigurationError` where it is no such thing."""
    value = getattr(settings, "JOBQ", None) or {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"JOBQ must be a dictionary, not {value!r:.100}")
    unknown = sorted(str(name) for name in value.keys() - set(KNOWN))
    if unknown:
        raise ConfigurationError(
            f"JOBQ has unknown keys {', '.join(unknown)}; it may have {', '.join(KNOWN)}"
        )
    return value


def database() -> str:
    """The alias of the database that jobs live in."""
    alias = given().get("DATABASE", "default")
    if alias not in settings.DATABASES:
        known = ", ".join(map(repr, settings.DATABASES))
        raise ConfigurationError(f"JOBQ['DATABASE'] is {alias!r}, and DATABASES has {known}")
    return str(alias)


def queue_options(**own: Any) -> dict[str, Any]:
    """The options of the queue, checked, as the fields of a configuration; `own` goes first."""
    options = {**_chosen(QUEUE), **own}
    for name in ("lifespan", "webhooks"):
        options[name] = _imported(options.get(name))
    options["observers"] = [*map(_observer, _several(options.get("observers")))]
    return _config.checked(**options)


def worker_options() -> dict[str, Any]:
    """The options of a worker's connections."""
    return _chosen(WORKER)


def http_options() -> dict[str, Any]:
    """The options of the routes."""
    options = _chosen(HTTP)
    for name in options.keys() & {"owner", "access"}:
        options[name] = _imported(options[name])
    return options


def _chosen(names: Iterable[str]) -> dict[str, Any]:
    value = given()
    return {name.lower(): value[name] for name in names if name in value}


def _several(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"JOBQ['OBSERVERS'] must be a list, not {value!r}")
    return value


def _observer(value: Any) -> Any:
    """An observer, or an instance of the class that a dotted path names."""
    found = _imported(value)
    return found() if isinstance(found, type) else found


def _imported(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return import_string(value)
    except ImportError as error:
        raise ConfigurationError(f"JOBQ names {value!r}, which cannot be imported: {error}") from (
            error
        )
