"""SQLite: one file, one writer at a time, the same promises.

A unit of work runs whole inside one thread, never across awaits, so a blocked or cancelled task
cannot hold the write lock. Units that wait for each other are committed together.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import aiosqlite
from attrs import frozen

from jobq._errors import BackendError, BackendUnavailable, ConfigurationError
from jobq.backends import _migrations
from jobq.backends._dialect import SqliteDialect
from jobq.backends._failures import translate
from jobq.backends._forks import watch_forks
from jobq.backends._statement import Call, Op, Row, drive, marked, reading
from jobq.backends._tables import SCHEMA_VERSION
from jobq.backends.ops import bulk
from jobq.backends.ops.insert import NewRow

T = TypeVar("T")
OLDEST = (3, 37, 0)
_SYNCHRONOUS = ("FULL", "NORMAL", "EXTRA")


@frozen(kw_only=True)
class SqliteOptions:
    """Where the file is and how it is opened; read from the URL."""

    path: str
    synchronous: str = "FULL"
    patience: float = 30.0
    """How long a unit of work waits for another writer, in seconds."""


def parse(url: str) -> SqliteOptions:
    """`sqlite:///relative.db`, `sqlite:////absolute.db`, `?synchronous=normal&patience=10`."""
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.netloc or not path or path == ":memory:":
        raise ConfigurationError(
            f"{url!r} names no file; use sqlite:///jobs.db (relative) or sqlite:////var/jobs.db. "
            f"An in-memory database is private to one connection; jobq.testing has temporary files"
        )
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    synchronous = query.pop("synchronous", "FULL").upper()
    if synchronous not in _SYNCHRONOUS:
        raise ConfigurationError(f"synchronous={synchronous!r} is none of {_SYNCHRONOUS}")
    try:
        patience = float(query.pop("patience", 30.0))
    except ValueError:
        raise ConfigurationError(f"patience in {url!r} is not a number of seconds") from None
    if query:
        raise ConfigurationError(f"{url!r}: unknown options {sorted(query)}")
    return SqliteOptions(path=path, synchronous=synchronous, patience=patience)


def connect(options: SqliteOptions) -> sqlite3.Connection:
    """A connection as jobq uses it, in autocommit mode."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigurationError(
            f"SQLite {sqlite3.sqlite_version} is too old, jobq needs 3.37 (2021): "
            f"use a newer Python build or distribution"
        )
    folder = Path(options.path).parent
    if not folder.is_dir():
        raise ConfigurationError(f"the folder {str(folder)!r} of {options.path!r} does not exist")
    connection = sqlite3.connect(
        options.path, timeout=0, isolation_level=None, check_same_thread=False
    )
    until = time.monotonic() + options.patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                connection.close()
                raise
            time.sleep(_pause())
    connection.execute(f"PRAGMA synchronous = {options.synchronous}")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _pause() -> float:
    """Between two tries for the write lock: short, and never in step with another process."""
    return random.uniform(0.0005, 0.002)


@frozen
class Unit:
    """A unit of work, until it has an answer."""

    op: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    future: asyncio.Future[Any]


class Writer:
    """Runs units of work on one connection, in the thread that calls it, one at a time."""

    def __init__(self, options: SqliteOptions, dialect: SqliteDialect) -> None:
        self._options = options
        self._dialect = dialect
        self._patience = options.patience
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        watch_forks(self)
        self._contended_until = 0.0
        self._committed_at = 0.0

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, opened when it is needed."""
        if self._connection is None:
            self._connection = connect(self._options)
        return self._connection

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def before_fork(self) -> None:
        """Close the connection; it is opened again on both sides."""
        self._lock.acquire()
        self.close()

    def after_fork(self, *, in_child: bool) -> None:  # noqa: ARG002  alike on both sides
        self._lock.release()

    def execute(self, call: Call) -> list[Row]:
        if call.batch is not None:
            execute, sql = self.connection.execute, call.sql
            return [(execute(sql, params).rowcount,) for params in call.batch]
        return self.connection.execute(call.sql, call.params).fetchall()

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """One unit, in a transaction of its own; a reading one needs no lock of the file."""
        with self._lock:
            if marked(op, "reading"):
                # Readers are in nobody's way, except while a file is opened first or closed last.
                return self._patiently(lambda: self._drive(op, args, kwargs))
            return self.transact(lambda: self._drive(op, args, kwargs))

    def transact(self, work: Callable[[], T]) -> T:
        """Do some work in a transaction."""
        with self._lock:
            self.begin()
            try:
                answer = work()
                self.commit()
            except BaseException:
                self.rollback()
                raise
            return answer

    def run_together(self, units: Sequence[Unit]) -> list[Any]:
        """Several units in one transaction; where one fails, each again in its own.

        The answers in order; an exception stands for the unit that raised it.
        """
        writing = [unit for unit in units if not marked(unit.op, "reading")]
        answers: dict[int, Any] = {}
        if len(writing) > 1:
            try:
                answers = self.transact(
                    lambda: {id(u): self._drive(u.op, u.args, u.kwargs) for u in writing}
                )
            except BackendUnavailable:
                raise
            except Exception:  # noqa: BLE001  each unit gets its own error below
                answers = {}
        return [answers[id(u)] if id(u) in answers else self._attempt(u) for u in units]

    def _attempt(self, unit: Unit) -> Any:
        try:
            return self.run(unit.op, *unit.args, **unit.kwargs)
        except Exception as error:  # noqa: BLE001  it is raised where the unit came from
            return error

    def _drive(self, op: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return drive(op(self._dialect, *args, **kwargs), self.execute)

    def begin(self) -> None:
        """BEGIN IMMEDIATE."""
        now = time.monotonic()
        if now < self._contended_until and now - self._committed_at < 0.001:
            time.sleep(_pause())  # others are waiting: leave a gap between two transactions
        self._patiently(lambda: self.connection.execute("BEGIN IMMEDIATE"))

    def _patiently(self, work: Callable[[], T]) -> T:
        """Wait for locks our own way: SQLite's busy handler starves those who wait."""
        started = time.monotonic()
        while True:
            try:
                return work()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                now = time.monotonic()
                self._contended_until = now + 1.0
                if now - started > self._patience:
                    raise BackendUnavailable(
                        f"another process has kept the SQLite database locked for "
                        f"{self._patience:g} s; look for a long write transaction"
                    ) from error
                time.sleep(_pause())

    def commit(self) -> None:
        self.connection.execute("COMMIT")
        self._committed_at = time.monotonic()

    def rollback(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


@reading
def _data_version(_: SqliteDialect) -> Op[int]:
    [(version,)] = yield Call("PRAGMA data_version", {})
    return version  # type: ignore[no-any-return]


def _ensure_schema(writer: Writer) -> None:
    """On SQLite the schema installs and upgrades itself."""
    version, compatible_from = writer.run(_migrations.installed)
    if version < SCHEMA_VERSION:
        writer.run(_migrations.migrate)
        version, compatible_from = writer.run(_migrations.installed)
    _migrations.check(version, compatible_from)


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
            return _bulk(self._ready(), self.dialect, rows)
        except sqlite3.Error as error:
            raise translate(error) or error from error

    def migrate(self) -> list[int]:
        self._ready()
        return []

    def _ready(self) -> Writer:
        if not self._checked:
            _ensure_schema(self._writer)
            self._checked = True
        return self._writer

    def close(self) -> None:
        self._writer.close()
        self._checked = False


def _bulk(writer: Writer, dialect: SqliteDialect, rows: Sequence[NewRow]) -> int:
    now = dialect.current()
    parameters = bulk.parameters(rows, now)
    writer.transact(lambda: writer.connection.executemany(bulk.INSERT, parameters))
    return now


class AsyncSqliteStore(Silent):
    """The asynchronous face, for one event loop: aiosqlite's thread does the work."""

    def __init__(self, options: SqliteOptions, dialect: SqliteDialect) -> None:
        self.dialect = dialect
        self._writer = Writer(options, dialect)
        self._connection: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()
        self._waiting: list[Unit] = []
        self._pump: asyncio.Task[None] | None = None

    async def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run an op; ops that are waiting at the same time share one transaction."""
        if self._connection is None:
            await self._open()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(Unit(op, args, kwargs, future))
        if self._pump is None:
            self._pump = asyncio.create_task(self._work_off())
        return await future

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                units, self._waiting = self._waiting, []
                await self._answer(units)
        finally:
            self._pump = None

    async def _answer(self, units: list[Unit]) -> None:
        try:
            answers = await self._in_thread(self._writer.run_together, units)
        except BaseException as error:  # noqa: BLE001  the connection was closed under us
            answers = [BackendError(f"the queue was closed: {error}")] * len(units)
        for unit, answer in zip(units, answers, strict=True):
            future = unit.future
            if future.done():
                continue
            if isinstance(answer, Exception):
                failure = translate(answer)
                if failure is not None and failure is not answer:
                    failure.__cause__ = answer
                future.set_exception(failure or answer)
            else:
                future.set_result(answer)

    async def bulk(self, rows: Sequence[NewRow]) -> int:
        """Store rows that have no unique keys; the instant at which they were created."""
        if self._connection is None:
            await self._open()
        try:
            return await asyncio.shield(self._in_thread(_bulk, self._writer, self.dialect, rows))
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
                await connection._execute(_ensure_schema, self._writer)  # type: ignore[no-untyped-call]  # noqa: SLF001
            except sqlite3.Error as error:
                await connection.close()
                raise translate(error) or error from error
            self._connection = connection

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._pump is not None:
                await asyncio.wait([self._pump])
            await connection._execute(self._writer.close)  # type: ignore[no-untyped-call]  # noqa: SLF001
            await connection.close()


class SqliteBackend:
    """A SQLite file."""

    name = "sqlite"
    joins_claims = True

    def __init__(self, url: str, clock: Any, **options: Any) -> None:
        if options:
            raise ConfigurationError(f"options of PostgreSQL on a SQLite queue: {sorted(options)}")
        self.options = parse(url)
        self.url = url
        self.dialect = SqliteDialect(clock)
        self.identity = f"sqlite:{os.path.realpath(self.options.path)}"

    def store(self) -> SqliteStore:
        return SqliteStore(self.options, self.dialect)

    def async_store(self) -> AsyncSqliteStore:
        return AsyncSqliteStore(self.options, self.dialect)

    def script(self, since: int = 0) -> str:
        return _migrations.script(self.dialect, since=since)

    async def watch(
        self, store: AsyncSqliteStore, hint: Callable[[], None], idle: Callable[[], float]
    ) -> None:
        """Call `hint` whenever another connection commits, within 20 ms, or 250 when long idle."""
        version = await store.data_version()
        hint()
        while True:
            await asyncio.sleep(0.02 if idle() < 60 else 0.25)
            try:
                latest = await store.data_version()
            except BackendError:
                continue
            if latest != version:
                version = latest
                hint()

    fallback_poll = 5.0
