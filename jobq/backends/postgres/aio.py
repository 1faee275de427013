"""The asynchronous face of PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg
from attrs import evolve
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from jobq._errors import BackendUnavailable, OutcomeUnknown
from jobq.backends import _migrations
from jobq.backends._failures import translate
from jobq.backends._options import PostgresOptions
from jobq.backends._postgres_dialect import PostgresDialect
from jobq.backends._statement import Call, Row, drive_async, marked
from jobq.backends.ops._moves import clock
from jobq.backends.ops.bulk import COPY, copy_blocks
from jobq.backends.ops.insert import NewRow, tell
from jobq.backends.postgres import hints
from jobq.backends.postgres.attempts import Attempts
from jobq.backends.postgres.connections import (
    AsyncConnection,
    cancellations,
    configure_async,
    pool_args,
    prepares,
    rest_before,
    returns_rows,
    slice_of,
    unbounded,
)
from jobq.backends.postgres.plans import AS_USUAL, Plans
from jobq.backends.postgres.reserved import AsyncReserved
from jobq.observe import logger

Pool = AsyncConnectionPool[AsyncConnection] | AsyncReserved


class AsyncPostgresStore(hints.Hinting):
    """The asynchronous face, for one event loop: on a pool, or on one connection of its own."""

    def __init__(
        self,
        options: PostgresOptions,
        dialect: PostgresDialect,
        *,
        reserved: str | None = None,
        plans: Plans = AS_USUAL,
        doubt: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._options = options
        self._plans = plans
        self.dialect = dialect
        self._reserved = reserved
        self._doubt = doubt
        """Called when a connection has fallen silent."""
        self._pool: Pool | None = None
        self._attempts = Attempts()
        self._distrusted = 0.0
        """When a connection last fell silent: those made before may be as dead."""
        self._opening = asyncio.Lock()
        self._checked = False
        self._trail: asyncio.Task[None] | None = None

    async def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._checked:
            await self._open()  # its check of the schema has a patience of its own
        deadline = time.monotonic() + self._options.patience
        tries, unknown = 0, None
        while True:
            try:
                return await self._try(op, args, kwargs)
            except BackendUnavailable as error:
                unknown = unknown or (error if isinstance(error, OutcomeUnknown) else None)
                rest = rest_before(deadline, tries)
                if rest is None:
                    raise unknown or error from error.__cause__
                tries += 1
                if marked(op, "knows_again"):
                    kwargs = {**kwargs, "again": True}
                await asyncio.sleep(rest)

    async def _try(self, op: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        async def work(connection: AsyncConnection) -> Any:
            async def execute(call: Call) -> list[Row]:
                prepare = prepares(call, self._options, connection)
                cursor = connection.take_cursor(call.sql)
                await cursor.execute(call.sql, call.params, prepare=prepare)
                rows = await cursor.fetchall() if returns_rows(cursor) else []
                connection.leave_cursor(call.sql, cursor)
                return rows

            if marked(op, "atomic"):
                async with connection.transaction():
                    return await drive_async(op(self.dialect, *args, **kwargs), execute)
            return await drive_async(op(self.dialect, *args, **kwargs), execute)

        return await self._with_connection(work, writing=not marked(op, "reading"))

    async def bulk(self, rows: Sequence[NewRow]) -> int:
        """Store rows that have no unique keys, by COPY; the instant at which they were created."""
        now: int = await self.run(clock)

        async def work(connection: AsyncConnection) -> None:
            async with connection.transaction():
                await connection.execute(unbounded())
                async with connection.cursor().copy(COPY) as copy:
                    for block in copy_blocks(rows, now):
                        await copy.write(block)

        await asyncio.shield(self._with_connection(work, writing=True))
        return now

    async def _with_connection(
        self, work: Callable[[AsyncConnection], Awaitable[Any]], *, writing: bool
    ) -> Any:
        pool = self._pool if self._checked and self._pool is not None else await self._open()
        cancelled = cancellations()
        connection = await self._take(pool)
        try:
            if cancellations() > cancelled:
                raise asyncio.CancelledError
            return await work(connection)
        except psycopg.Error as error:
            raise translate(error, writing=writing) or error from error
        finally:
            if connection.silent:
                self._distrusted = time.monotonic()
                if self._doubt is not None:
                    self._doubt()
            await pool.putconn(connection)

    async def _take(self, pool: Pool) -> AsyncConnection:
        """A connection. A pool is asked again and again: by itself it rests for seconds."""
        deadline = time.monotonic() + self._options.patience
        while True:
            try:
                connection = await pool.getconn(timeout=slice_of(deadline))
            except PoolTimeout as error:
                if time.monotonic() < deadline:
                    continue
                reason = self._attempts.reason(self._options.pool_size)
                raise BackendUnavailable(f"PostgreSQL: no connection: {reason}") from error
            except psycopg.Error as error:
                raise translate(error) or error from error
            if connection.made_at >= self._distrusted:
                return connection
            await connection.close()
            await pool.putconn(connection)

    async def _open(self) -> Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._new_pool()
        if not self._checked:
            self._checked = True
            try:
                _migrations.check(*await self.run(_migrations.installed))
            except BaseException:
                self._checked = False
                raise
        return self._pool

    async def _new_pool(self) -> Pool:
        if self._reserved is not None:
            return AsyncReserved(self._options, self._reserved, self._plans)
        pool = AsyncConnectionPool(
            self._options.url,
            connection_class=AsyncConnection,
            open=False,
            configure=self._configure,
            **pool_args(self._options, self._attempts),
        )
        await pool.open()
        return pool

    async def _configure(self, connection: AsyncConnection) -> None:
        with self._attempts.noted():
            await configure_async(self._options, connection, self._plans)

    async def migrate(self) -> list[int]:
        """Bring the schema up to date, on a connection of its own, however long that takes."""
        options = evolve(self._options, statement_timeout=None)
        store = AsyncPostgresStore(options, self.dialect, reserved="jobq migrate")
        store._checked = True
        try:
            return await store.run(_migrations.migrate)  # type: ignore[no-any-return]
        finally:
            await store.aclose()

    def notify(self, queue: str) -> None:
        """See that workers are told, a moment from now."""
        if self._hints.trails(queue):
            self._trail = asyncio.ensure_future(self._attend())

    async def _attend(self) -> None:
        try:
            while (rest := self._hints.rest()) is not None:
                await asyncio.sleep(rest)
                await self._send()
        except asyncio.CancelledError:  # the loop is ending, as asyncio.run does it
            await self._send(everything=True)
            raise

    async def _send(self, *, everything: bool = False) -> None:
        queues = self._hints.take(everything=everything)
        if queues:
            try:
                await self.run(tell, queues)
            except Exception:  # noqa: BLE001  the next hints need their attendant
                logger.warning("could not NOTIFY; workers will find the jobs by polling")

    async def aclose(self) -> None:
        pool = self._pool
        if pool is not None:
            if self._trail is not None and not self._trail.done():
                self._trail.cancel()
            await self._send(everything=True)
            self._pool = None
            await pool.close(timeout=1.0)
