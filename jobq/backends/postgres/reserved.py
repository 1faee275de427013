"""A single connection of one's own, where a pool's could all be in use or be slow to come back."""

from __future__ import annotations

import asyncio
import threading

from psycopg_pool import PoolTimeout

from jobq.backends._options import PostgresOptions
from jobq.backends.postgres.connections import (
    AsyncConnection,
    Connection,
    configure,
    configure_async,
    connect_args,
    is_reusable,
)
from jobq.backends.postgres.plans import AS_USUAL, Plans


class Reserved:
    """What a pool of one would be, but it connects in the caller's thread, whenever asked."""

    def __init__(self, options: PostgresOptions, name: str) -> None:
        self._options = options
        self._name = name
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def getconn(self, timeout: float) -> Connection:
        if not self._lock.acquire(timeout=max(0.0, timeout)):
            raise PoolTimeout
        try:
            if self._connection is None:
                args = connect_args(self._name, self._options)
                self._connection = Connection.connect(self._options.url, **args)
                configure(self._options, self._connection, AS_USUAL)
        except BaseException:
            self._drop()
            self._lock.release()
            raise
        return self._connection

    def putconn(self, connection: Connection) -> None:
        if not is_reusable(connection):
            self._drop()
        self._lock.release()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def close(self, timeout: float) -> None:
        if self._lock.acquire(timeout=timeout):
            self._drop()
            self._lock.release()


class AsyncReserved:
    """`Reserved`, for an event loop."""

    def __init__(self, options: PostgresOptions, name: str, plans: Plans) -> None:
        self._options = options
        self._name = name
        self._plans = plans
        self._lock = asyncio.Lock()
        self._connection: AsyncConnection | None = None

    async def getconn(self, timeout: float) -> AsyncConnection:  # noqa: ASYNC109  as a pool has it
        try:
            async with asyncio.timeout(max(0.0, timeout)):
                await self._lock.acquire()
        except TimeoutError:
            raise PoolTimeout from None
        try:
            if self._connection is None:
                args = connect_args(self._name, self._options)
                self._connection = await AsyncConnection.connect(self._options.url, **args)
                await configure_async(self._options, self._connection, self._plans)
        except BaseException:
            await self._drop()
            self._lock.release()
            raise
        return self._connection

    async def putconn(self, connection: AsyncConnection) -> None:
        if not is_reusable(connection):
            await self._drop()
        self._lock.release()

    async def _drop(self) -> None:
        if self._connection is not None:
            await self._connection.close()
        self._connection = None

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109, ARG002  as a pool has it
        await self._drop()
