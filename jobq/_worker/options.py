"""What a worker is given, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobq._errors import ConfigurationError
from jobq._routing import Router

LONGEST = 30 * 86400.0


def check_numbers(*, whole: Mapping[str, int], seconds: Mapping[str, float], grace: float) -> None:
    """Raise `ConfigurationError` for a number that cannot be meant."""
    for name, value in whole.items():
        check_whole(name, value)
    for name, span in seconds.items():
        if not _is_number(span) or not span > 0:
            raise ConfigurationError(f"Worker({name}={span!r}) must be above 0")
        if span > LONGEST:
            raise ConfigurationError(f"Worker({name}={span!r}) is longer than 30 days")
    if not _is_number(grace) or not grace >= 0:
        raise ConfigurationError(f"Worker(grace={grace!r}) must be 0 or more")


def check_whole(name: str, value: int, *, least: int = 1) -> None:
    """Raise `ConfigurationError` for anything but an integer from `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"Worker({name}={value!r}) must be an integer from {least}")


def check_bounds(max_jobs: int | None, max_seconds: float | None) -> None:
    """Raise `ConfigurationError` where a run could never come to its end, or not begin."""
    if max_jobs is not None:
        check_whole("max_jobs", max_jobs, least=0)
    if max_seconds is not None and not (_is_number(max_seconds) and 0 <= max_seconds <= LONGEST):
        raise ConfigurationError(f"Worker(max_seconds={max_seconds!r}) must be from 0 s to 30 days")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_queues(queues: Sequence[str] | None) -> None:
    """Raise `ConfigurationError` for anything but names."""
    if queues is None:
        return
    if isinstance(queues, str) or not queues or not all(isinstance(name, str) for name in queues):
        raise ConfigurationError(f"queues={queues!r} must be a list of names")


def check_handlers(router: Router) -> None:
    """Raise `ConfigurationError` without handlers, or where middleware of one job meets batches."""
    if not router.types and not router.finds:
        raise ConfigurationError(
            "this worker has no handlers: import the modules that declare them before it runs"
        )
    for handler in router:
        if handler.batch and router.chain(handler):
            raise ConfigurationError(
                f"handler {handler.type!r} takes batches, and middleware is around one job: "
                f"give it to a router without middleware"
            )
