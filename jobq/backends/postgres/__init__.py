"""PostgreSQL: psycopg 3 with a pool; LISTEN/NOTIFY as a hint, never as the only way.

Connections are in autocommit mode, so an op of one statement is one round trip, and only ops that
ask for it get a transaction. Nothing depends on the session but LISTEN, so a transaction-pooling
PgBouncer may stand between; `listen_url` then names the server itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from secrets import token_hex
from typing import Any

import psycopg

from jobq._errors import ConfigurationError
from jobq._masking import mask
from jobq.backends import _migrations
from jobq.backends._dialect import PostgresDialect
from jobq.backends._options import PostgresOptions
from jobq.backends.ops.insert import CHANNEL
from jobq.backends.postgres.aio import AsyncPostgresStore
from jobq.backends.postgres.connections import connect_args
from jobq.backends.postgres.sync import PostgresStore
from jobq.observe import logger


class PostgresBackend:
    """A PostgreSQL database."""

    name = "postgresql"
    joins_claims = False

    def __init__(self, options: PostgresOptions, url: str, clock: Any) -> None:
        try:
            psycopg.conninfo.conninfo_to_dict(options.url)
        except psycopg.Error as error:
            raise ConfigurationError(f"{mask(url)!r} is no PostgreSQL URL: {error}") from None
        self.options = options
        self.url = url
        self.dialect = PostgresDialect(clock)
        self.identity = f"postgresql:{self.options.url}"

    def store(self) -> PostgresStore:
        return PostgresStore(self.options, self.dialect)

    def async_store(self) -> AsyncPostgresStore:
        return AsyncPostgresStore(self.options, self.dialect)

    def script(self, since: int = 0) -> str:
        return _migrations.script(self.dialect, since=since)

    fallback_poll = 1.0

    async def watch(
        self, store: AsyncPostgresStore, hint: Callable[[], None], idle: Callable[[], float]
    ) -> None:
        """Call `hint` at each NOTIFY, and whenever one might have been missed.

        Until a ping of our own has come back the channel is not trusted: a transaction pooler
        accepts LISTEN and then hears nothing.
        """
        del store, idle
        while True:
            try:
                await self._listen(hint)
            except psycopg.Error as error:
                logger.warning("LISTEN was interrupted, polling until it is back: %s", error)
            self.fallback_poll = 1.0
            hint()
            await asyncio.sleep(1.0)

    async def _listen(self, hint: Callable[[], None]) -> None:
        url = self.options.listen_url or self.options.url
        ping = f"{CHANNEL}_{token_hex(8)}"
        connection = await psycopg.AsyncConnection.connect(url, **connect_args("jobq listen"))
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
            await connection.execute(f"LISTEN {ping}")
            while True:
                await connection.execute(f"NOTIFY {ping}")
                self.fallback_poll = 5.0 if await self._hear(connection, ping, hint) else 1.0
        finally:
            await connection.close()

    async def _hear(
        self, connection: psycopg.AsyncConnection[Any], ping: str, hint: Callable[[], None]
    ) -> bool:
        """Pass hints on for half a minute; whether our own ping was among them."""
        heard = False
        async for note in connection.notifies(timeout=2.0):
            if note.channel == ping:
                heard = True
                self.fallback_poll = 5.0
            hint()
            if heard:
                break
        if not heard:
            logger.warning(
                "LISTEN hears nothing here (a transaction pooler?): polling each second instead; "
                "give Queue(listen_url=…) an address that reaches PostgreSQL itself"
            )
            await asyncio.sleep(28.0)
            return False
        async for _note in connection.notifies(timeout=30.0):
            hint()
        return True
