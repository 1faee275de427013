"""Check a worker's options."""

from __future__ import annotations

from collections.abc import Sequence

from jobq._errors import ConfigurationError
from jobq._routing import Router

LONGEST = 30 * 86400.0


def check_whole(*, least: int = 1, **options: int) -> None:
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigurationError(f"Worker({name}={value!r}) must be an integer from {least}")


def are_names(queues: Sequence[str]) -> bool:
    named = not isinstance(queues, str) and all(isinstance(name, str) for name in queues)
    return named and len(queues) > 0


def check_above_zero(**options: float) -> None:
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ConfigurationError(f"Worker({name}={value!r}) must be above 0")
        if value > LONGEST:
            raise ConfigurationError(f"Worker({name}={value!r}) is longer than 30 days")


def check_batches(router: Router) -> None:
    for handler in router:
        if handler.batch and router.chain(handler):
            raise ConfigurationError(
                f"handler {handler.type!r} takes batches, and middleware is around one job: "
                f"give it to a router without middleware"
            )
