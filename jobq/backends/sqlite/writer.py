"""The connection to the file, and the transactions on it."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

from jobq._errors import BackendUnavailable, ConfigurationError
from jobq.backends import _migrations
from jobq.backends._forks import watch_forks
from jobq.backends._log import log_size
from jobq.backends._options import SqliteOptions
from jobq.backends._sqlite_dialect import SqliteDialect
from jobq.backends._statement import Call, Row, drive, marked
from jobq.backends._tables import SCHEMA_VERSION
from jobq.backends.ops import bulk
from jobq.backends.ops.insert import NewRow

T = TypeVar("T")
OLDEST = (3, 37, 0)
LOG_KEPT = 4 * 1024 * 1024
"""To how many bytes the write-ahead log shrinks again, after a reader had kept it growing."""

LONGEST_LOG = 16 * 1024 * 1024
"""Bytes of a log that is emptied at once, where several processes write without a pause."""
EMPTYING_EVERY = 0.1
"""Seconds between two looks at its length."""
PATIENCE_WITH_READERS = 50
"""Milliseconds to wait for those who read, when the log is to be emptied."""


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
    try:
        _use_wal(connection, until=time.monotonic() + options.patience)
        connection.execute(f"PRAGMA synchronous = {options.synchronous}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT}")
    except BaseException:
        connection.close()
        raise
    return connection


def empty_log(connection: sqlite3.Connection) -> bool:
    """Copy the whole log into the file, and begin it anew; whether nobody was in the way.

    SQLite does so itself when a commit meets no reader and no writer, which does not happen where
    several processes write without a pause. This waits for those who read; best done just after a
    commit, when the others have not yet noticed that they may write.
    """
    connection.execute(f"PRAGMA busy_timeout = {PATIENCE_WITH_READERS}")
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:
        return False
    finally:
        connection.execute("PRAGMA busy_timeout = 0")
    return not busy


def _use_wal(connection: sqlite3.Connection, *, until: float) -> None:
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(pause())
        else:
            return


def pause() -> float:
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
        self._empty_log_at = 0.0
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

    def __del__(self) -> None:
        # A queue that nobody closed: the connection would complain when it is collected.
        connection = getattr(self, "_connection", None)
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def before_fork(self) -> None:
        """Close the connection; it is opened again on both sides."""
        self._lock.acquire()
        self.close()

    def after_fork(self, *, in_child: bool) -> None:  # noqa: ARG002  alike on both sides
        self._lock.release()

    def execute(self, call: Call) -> list[Row]:
        return self.connection.execute(call.sql, call.params).fetchall()

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """One unit, in a transaction of its own; a reading one needs no lock of the file."""
        with self._lock:
            if marked(op, "reading"):
                # Readers are in nobody's way, except while a file is opened first or closed last.
                return self._patiently(lambda: self._drive(op, args, kwargs))
            if marked(op, "single"):
                self._leave_a_gap()
                answer = self._patiently(lambda: self._drive(op, args, kwargs))
                self._note_commit()
                return answer
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
        self._leave_a_gap()
        self._patiently(lambda: self.connection.execute("BEGIN IMMEDIATE"))

    def _leave_a_gap(self) -> None:
        """Between two transactions, while others are waiting."""
        now = time.monotonic()
        if now < self._contended_until and now - self._committed_at < 0.001:
            time.sleep(pause())

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
                time.sleep(pause())

    def commit(self) -> None:
        self.connection.execute("COMMIT")
        self._note_commit()

    def _note_commit(self) -> None:
        self._committed_at = now = time.monotonic()
        if now < self._contended_until and now > self._empty_log_at:
            self._empty_log_at = now + EMPTYING_EVERY
            if log_size(self._options.path) > LONGEST_LOG:
                empty_log(self.connection)

    def rollback(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


def ensure_schema(writer: Writer) -> None:
    """On SQLite the schema installs and upgrades itself."""
    version, compatible_from = writer.run(_migrations.installed)
    if version < SCHEMA_VERSION:
        writer.run(_migrations.migrate)
        version, compatible_from = writer.run(_migrations.installed)
    _migrations.check(version, compatible_from)


def store_all(writer: Writer, dialect: SqliteDialect, rows: Sequence[NewRow]) -> int:
    now = dialect.current()
    insert, parameters = bulk.insertion(rows, now)
    writer.transact(lambda: writer.connection.executemany(insert, parameters))
    return now
