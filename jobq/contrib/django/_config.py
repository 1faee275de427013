"""The configuration behind the project's queue, and the one behind its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, TypeVar, cast

from anyio import CapacityLimiter
from asgiref.sync import async_to_sync, sync_to_async
from attrs import define

from jobq import backends
from jobq._clock import Clock
from jobq._config import Config
from jobq.backends import _migrations
from jobq.contrib.django import _database, _settings
from jobq.contrib.django._router import ProjectRouter
from jobq.contrib.django._store import AsyncDjangoStore, BridgedStore, DjangoStore, dialect_of

T = TypeVar("T")


class DjangoBackend:
    """A database of the project, on Django's connections."""

    joins_claims = False
    fallback_poll = 5.0

    def __init__(self, alias: str, clock: Clock) -> None:
        self.alias = alias
        self.clock = clock
        self.url = f"django:{alias}"
        self.name = _database.vendor(alias)
        self.identity = _database.identity(alias)
        self.dialect = dialect_of(alias, clock)

    def store(self) -> DjangoStore:
        return DjangoStore(self.alias, self.clock)

    def async_store(self, within: float | None = None) -> AsyncDjangoStore:
        return AsyncDjangoStore(self.alias, self.clock)

    def lease_store(self, within: float) -> BridgedStore:
        return BridgedStore(self.async_store(), within)

    def outcome_store(self, within: float | None = None) -> None:
        """Outcomes share Django's connection."""

    def script(self, since: int = 0) -> str:
        return _migrations.script(self.dialect, since=since)

    async def held_up(self, store: Any, *, seconds: float) -> None:
        """A drain is short."""

    async def watch(self, store: Any, hint: Callable[[], None], idle: Callable[[], float]) -> None:
        """Nobody else writes while a drain runs."""
        del store, hint, idle
        await asyncio.Event().wait()


@define(kw_only=True, eq=False, slots=False)
class DjangoConfig(Config):
    """What the project's queue does, it does on Django's own connections."""

    alias: str

    @cached_property
    def backend(self) -> backends.Backend:
        return cast("backends.Backend", DjangoBackend(self.alias, self.clock))

    async def in_thread(self, call: Callable[[], T], threads: CapacityLimiter) -> T:
        """In Django's thread too, so that a test's handlers see what the test has written."""
        async with threads:
            return await sync_to_async(call, thread_sensitive=True)()

    def from_thread(self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
        """From Django's thread, which meanwhile does what the loop asks of it."""
        del loop
        return self.run(work)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        async def finish() -> T:
            return await work

        return async_to_sync(finish)()


def queue_config(alias: str, **options: Any) -> DjangoConfig:
    """The configuration of a queue of the project. Raises `ConfigurationError`."""
    fields = _settings.queue_options(**options)
    if "router" not in options:
        fields["router"] = ProjectRouter()
    return DjangoConfig(url=f"django:{alias}", alias=alias, **fields)
