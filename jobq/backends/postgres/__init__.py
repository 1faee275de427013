"""PostgreSQL: psycopg 3 with a pool; LISTEN/NOTIFY as a hint, never as the only way.

Connections are in autocommit mode, so an op of one statement is one round trip, and only ops that
ask for it get a transaction. Nothing depends on the session but LISTEN, so a transaction-pooling
PgBouncer may stand between; `listen_url` then names the server itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from secrets import token_hex
from typing import Any

import psycopg
from attrs import evolve

from jobq._errors import ConfigurationError
from jobq._masking import shown_url, unquoted
from jobq.backends import _migrations
from jobq.backends._options import PostgresOptions
from jobq.backends._postgres_dialect import PostgresDialect
from jobq.backends.ops.health import oldest_snapshot
from jobq.backends.ops.insert import CHANNEL
from jobq.backends.postgres.aio import AsyncPostgresStore
from jobq.backends.postgres.connections import AsyncConnection, connect_args
from jobq.backends.postgres.ear import Ear
from jobq.backends.postgres.plans import ANEW, AS_USUAL, KEPT
from jobq.backends.postgres.sync import PostgresStore
from jobq.observe import logger

QUIET = 30.0
"""Seconds between two looks for what no NOTIFY told of."""
PING_EVERY = 10.0
"""Seconds after which a worker makes sure again that it hears what is told."""
PING_WITHIN = 5.0
"""Seconds after which the connection that listens is given up, if it does not answer."""


def _check(url: str) -> None:
    try:
        psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error as error:
        shown = shown_url(url)
        reason = unquoted(str(error), shown)
        raise ConfigurationError(f"{shown!r} is no PostgreSQL URL: {reason}") from None


class PostgresBackend:
    """A PostgreSQL database."""

    name = "postgresql"
    joins_claims = True

    def __init__(self, options: PostgresOptions, url: str, clock: Any) -> None:
        for given in filter(None, (options.url, options.listen_url)):
            _check(given)
        self.options = options
        self.url = url
        self.dialect = PostgresDialect(clock)
        self.identity = f"postgresql:{self.options.url}"
        self._hints: list[Callable[[], object]] = []
        """Of those that watch now; any thread may call."""

    def store(self) -> PostgresStore:
        return PostgresStore(self.options, self.dialect)

    def async_store(self, within: float | None = None) -> AsyncPostgresStore:
        is_workers = within is not None  # who stays, and asks the same again and again
        plans = ANEW if is_workers else AS_USUAL
        doubt = self._doubt if is_workers else None
        return AsyncPostgresStore(self._answering(within), self.dialect, plans=plans, doubt=doubt)

    def lease_store(self, within: float) -> PostgresStore:
        """For renewals: whoever has taken the pool, whatever a pool rests after a failure."""
        patience = min(self.options.patience, within)
        options = evolve(self._answering(within), patience=patience)
        return PostgresStore(options, self.dialect, reserved="jobq leases")

    def outcome_store(self, within: float) -> AsyncPostgresStore:
        """For outcomes, whoever has taken the pool, and for claims while there are none."""
        name, options = "jobq outcomes", self._answering(within)
        return AsyncPostgresStore(
            options, self.dialect, reserved=name, plans=KEPT, doubt=self._doubt
        )

    def _answering(self, within: float | None) -> PostgresOptions:
        """The options of a store whose answers are not waited for longer than that."""
        bounds = [one for one in (self.options.statement_timeout, within) if one is not None]
        return evolve(self.options, statement_timeout=min(bounds, default=None))

    def script(self, since: int = 0) -> str:
        return _migrations.script(self.dialect, since=since)

    async def held_up(self, store: AsyncPostgresStore, *, seconds: float) -> str | None:
        """What has kept dead rows from being cleared away for so long, if something has."""
        found = await store.run(oldest_snapshot, seconds=seconds)
        return found and f"{found}: until it ends, claims and vacuums slow down"

    fallback_poll = 1.0

    async def watch(
        self, store: AsyncPostgresStore, hint: Callable[[], None], idle: Callable[[], float]
    ) -> None:
        """Call `hint` at each NOTIFY, and whenever one might have been missed.

        Until a ping of our own has come back the channel is not trusted: a transaction pooler
        accepts LISTEN and then hears nothing.
        """
        del store, idle
        doubted = partial(asyncio.get_running_loop().call_soon_threadsafe, hint)
        self._hints.append(doubted)
        try:
            while True:
                try:
                    await self._listen(hint)
                except psycopg.Error as error:
                    logger.warning("LISTEN was interrupted, polling until it is back: %s", error)
                self.fallback_poll = 1.0
                hint()
                await asyncio.sleep(random.uniform(0.5, 1.5))
        finally:
            self._hints.remove(doubted)

    def _doubt(self) -> None:
        """A connection of a worker fell silent: that which listens may be as dead."""
        self.fallback_poll = 1.0
        for hint in self._hints:
            hint()

    async def _listen(self, hint: Callable[[], None]) -> None:
        url = self.options.listen_url or self.options.url
        ping = f"{CHANNEL}_{token_hex(8)}"
        args = connect_args("jobq listen", self.options)
        connection = await AsyncConnection.connect(url, **args)
        bounds = (self.options.statement_timeout, PING_WITHIN)
        connection.bound = min(bound for bound in bounds if bound is not None)
        ear = Ear(connection)
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
            await connection.execute(f"LISTEN {ping}")
            while True:
                await connection.execute(f"NOTIFY {ping}")
                if not await self._hear(ear, ping, hint):
                    self.fallback_poll = 1.0
        finally:
            await connection.close()

    async def _hear(self, ear: Ear, ping: str, hint: Callable[[], None]) -> bool:
        """Pass hints on until the next ping is due; whether our own was among them."""
        heard = False
        async for channel in ear.channels(2.0):
            heard = channel == ping
            if not heard or self.fallback_poll < QUIET:
                hint()  # also for what was missed while the channel was not trusted
            if heard:
                self.fallback_poll = QUIET
                break
        if not heard:
            logger.warning(
                "LISTEN hears nothing here (a transaction pooler?): polling each second instead; "
                "give Queue(listen_url=…) an address that reaches PostgreSQL itself"
            )
            await asyncio.sleep(28.0)
            return False
        async for _ in ear.channels(PING_EVERY):
            hint()
        return True
