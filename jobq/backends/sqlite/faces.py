"""The two faces of a SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import aiosqlite

from jobq._errors import BackendError, BackendUnavailable
from jobq.backends._failures import translate
from jobq.backends._options import SqliteOptions
from jobq.backends._sqlite_dialect import SqliteDialect
from jobq.backends._statement import Call, Op, reading
from jobq.backends.ops.insert import NewRow
from jobq.backends.sqlite.writer import Unit, Writer, ensure_schema, store_all


class Silent:
    """Other processes watch the file; there is nobody to tell of new jobs."""

    def notifies_now(self, queue: str) -> bool:  # noqa: ARG002  the protocol's argument
        return False

    def notified(self, queue: str) -> None:
        """Nothing was sent."""

    def notify(self, queue: str) -> None:
        """Nothing is sent."""


class SqliteStore(Silent):
    """The synchronous face: any thread may call it, one at a time."""

    def __init__(self, options: SqliteOptions, dialect: SqliteDialect) -> None:
        self.dialect = dialect
        self._writer = Writer(options, dialect)
        self._checked = False

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return self._ready().run(op, *args, **kwargs)
        except sqlite3.Error as error:
            raise translate(error) or error from error

    def bulk(self, rows: Sequence[NewRow]) -> int:
        """Store rows that have no unique keys; the instant at which they were created."""
        try:
            return store_all(self._ready(), self.dialect, rows)
        except sqlite3.Error as error:
            raise translate(error) or error from error

    def migrate(self) -> list[int]:
        self._ready()
        return []

    def _ready(self) -> Writer:
        if not self._checked:
            ensure_schema(self._writer)
            self._checked = True
        return self._writer

    def close(self) -> None:
        self._writer.close()
        self._checked = False


@reading
def _data_version(_: SqliteDialect) -> Op[int]:
    [(version,)] = yield Call("PRAGMA data_version", {})
    return version  # type: ignore[no-any-return]


def _deliver(units: list[Unit], answers: list[Any]) -> None:
    for unit, answer in zip(units, answers, strict=True):
        if unit.future.done():
            continue
        if isinstance(answer, Exception):
            failure = translate(answer)
            if failure is not None and failure is not answer:
                failure.__cause__ = answer
            unit.future.set_exception(failure or answer)
        else:
            unit.future.set_result(answer)


class AsyncSqliteStore(Silent):
    """The asynchronous face, for one event loop: aiosqlite's thread does the work."""

    def __init__(self, options: SqliteOptions, dialect: SqliteDialect) -> None:
        self.dialect = dialect
        self._writer = Writer(options, dialect)
        self._connection: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()
        self._waiting: list[Unit] = []
        self._pump: asyncio.Task[None] | None = None
        self._busy = False

    async def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run an op; ops that are waiting at the same time share one transaction."""
        if self._connection is None:
            await self._open()
        unit = Unit(op, args, kwargs, asyncio.get_running_loop().create_future())
        if self._busy:
            self._waiting.append(unit)
            return await unit.future
        self._busy = True
        try:
            await self._answer([unit])
        finally:
            if self._waiting:
                self._pump = asyncio.create_task(self._work_off())
            else:
                self._busy = False
        return unit.future.result()

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                units, self._waiting = self._waiting, []
                await self._answer(units)
        finally:
            self._pump, self._busy = None, False

    async def _answer(self, units: list[Unit]) -> None:
        try:
            answers = await self._in_thread(self._writer.run_together, units)
        except BackendUnavailable as error:  # the lock was not to be had: they may try again
            answers = [error] * len(units)
        except asyncio.CancelledError:
            for unit in units:
                unit.future.cancel()
            raise
        except Exception as error:  # noqa: BLE001  the connection was closed under us
            answers = [BackendError(f"the queue was closed: {error}")] * len(units)
        _deliver(units, answers)

    async def bulk(self, rows: Sequence[NewRow]) -> int:
        """Store rows that have no unique keys; the instant at which they were created."""
        if self._connection is None:
            await self._open()
        try:
            return await asyncio.shield(
                self._in_thread(store_all, self._writer, self.dialect, rows)
            )
        except sqlite3.Error as error:
            raise translate(error) or error from error

    async def data_version(self) -> int:
        """A number that changes when another connection commits."""
        if self._connection is None:
            await self._open()
        return await self._in_thread(self._writer.run, _data_version)  # type: ignore[no-any-return]

    async def migrate(self) -> list[int]:
        await self._open()
        return []

    async def _in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a function whole in the connection's thread.

        aiosqlite offers this only to itself; statement by statement a transaction would be open
        across awaits, and a cancelled or blocked task would keep the file locked.
        """
        assert self._connection is not None
        return await self._connection._execute(work, *args)  # type: ignore[no-untyped-call]  # noqa: SLF001

    async def _open(self) -> None:
        async with self._opening:
            if self._connection is not None:
                return
            connection = aiosqlite.Connection(lambda: self._writer.connection, 64)
            # A queue that nobody closed must not keep the interpreter from ending.
            connection._thread.daemon = True  # noqa: SLF001
            try:
                await connection
                await connection._execute(ensure_schema, self._writer)  # type: ignore[no-untyped-call]  # noqa: SLF001
            except BaseException as error:
                await connection.close()
                if isinstance(error, sqlite3.Error):
                    raise translate(error) or error from error
                raise
            self._connection = connection

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._pump is not None:
                await asyncio.wait([self._pump])
            await connection._execute(self._writer.close)  # type: ignore[no-untyped-call]  # noqa: SLF001
            await connection.close()
