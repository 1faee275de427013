"""A worker of the project: on connections of its own, with Django's looked after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import CapacityLimiter
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from attrs import define, fields
from django.db import close_old_connections, connections, reset_queries

from jobq._config import Config
from jobq._errors import ConfigurationError
from jobq._queue import Queue
from jobq.contrib.django import DjangoQueue, _database, _settings
from jobq.contrib.django._router import ProjectRouter, aliases

T = TypeVar("T")
OWN = {"url", "options", "declared"}
SHARED = [one.name for one in fields(Config) if one.init and one.name not in OWN]
"""What a worker's configuration has of the project's."""


@define(kw_only=True, eq=False, slots=False)
class WorkerConfig(Config):
    """The configuration of a worker."""

    async def in_thread(self, call: Callable[[], T], threads: CapacityLimiter) -> T:
        """Run a `def` handler; the thread's connections are looked after by itself."""

        def around() -> T:
            _refresh()
            try:
                return call()
            finally:
                _refresh()

        return await super().in_thread(around, threads)

    async def in_loop(self, call: Callable[[], Awaitable[T]]) -> T:
        """Give each attempt a thread for Django's ORM, and close what was opened there.

        Otherwise all attempts of the process would stand in line for one thread and connection.
        """
        async with ThreadSensitiveContext():
            try:
                return await call()
            finally:
                await sync_to_async(connections.close_all, thread_sensitive=True)()


def _refresh() -> None:
    """What Django does around a request."""
    reset_queries()
    close_old_connections()


def worker_queue(queue: DjangoQueue, backend: str | None = None) -> Queue:
    """The queue that a worker serves: the same jobs, reached without Django.

    With `backend`, the alias of a task backend, it runs that one's tasks and nothing else.
    """
    if backend is not None and backend not in aliases():
        raise ConfigurationError(f"TASKS has no backend {backend!r} that is jobq's")
    config: Config = queue._config  # noqa: SLF001  a face of the configuration
    given = {name: getattr(config, name) for name in SHARED}
    if backend is not None:
        given["router"] = ProjectRouter([backend])
    options = _settings.worker_options() if _database.vendor(queue.alias) == "postgresql" else {}
    url = _database.url(queue.alias)
    return Queue._face_of(WorkerConfig(url=url, options=options, **given))  # noqa: SLF001
