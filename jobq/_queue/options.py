"""What the two faces of a queue share: the options of `enqueue`, and how a call becomes a value."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypedDict

from jobq._errors import OptionError
from jobq._loops import in_event_loop
from jobq._model import NewJob


class EnqueueOptions(TypedDict, total=False):
    """The options of `enqueue`; those left out take the handler's defaults.

    `None` is as if left out, except for `timeout`, where it is for ever.
    """

    queue: str | None
    priority: int | str | None
    run_at: datetime | None
    delay: float | timedelta | None
    max_attempts: int | None
    timeout: float | timedelta | None
    expires_at: datetime | None
    unique_key: str | None
    idempotency_key: str | None
    owner: str | None
    keep: float | timedelta | bool | None
    cost: Mapping[str, int] | None
    metadata: dict[str, Any] | None
    webhook: str | None
    connection: Any
    session: Any


class Where(TypedDict, total=False):
    """Which jobs: those that fit all that is given."""

    status: str | Iterable[str] | None
    type: str | None
    queue: str | None
    owner: str | None
    batch: Any


def one_connection(connection: Any, session: Any) -> Any:
    """The connection or session that a call is to run on, if it was given one."""
    if connection is not None and session is not None:
        raise OptionError("give session= or connection=, not both")
    return connection if session is None else session


def job_item(type: Any, payload: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """A call's arguments as an item of `enqueue_many`, and the connection that it is to run on."""
    if not options:
        return (type, payload), None
    connection = one_connection(options.pop("connection", None), options.pop("session", None))
    try:
        new = NewJob(type=type, payload=payload, **options)
    except TypeError as error:
        known = ", ".join(EnqueueOptions.__annotations__)
        raise OptionError(f"{error}; the options of enqueue are {known}") from None
    return new, connection


_warned = False


def warn_in_a_loop() -> None:
    """A synchronous verb works on a thread with a running event loop, but it blocks the loop."""
    global _warned  # noqa: PLW0603  once a process
    if _warned or not in_event_loop():
        return
    _warned = True
    warnings.warn(
        "a synchronous jobq verb was called on a thread with a running event loop and blocks it; "
        "use `await queue.aio.…` there",
        RuntimeWarning,
        stacklevel=4,
    )
