"""The databases that ops run on: SQLite in memory, and PostgreSQL. One connection each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import psycopg

from jobq.backends import _migrations
from jobq.backends import _tables as t
from jobq.backends._columns import Flag, Id, Instant, Json
from jobq.backends._dialect import Dialect
from jobq.backends._postgres_dialect import PostgresDialect
from jobq.backends._sqlite_dialect import SqliteDialect
from jobq.backends._statement import Call, Row, marked
from tests.simulator.clock import DatabaseClock, Time

Rows = list[dict[str, Any]]


class Database(Protocol):
    """What the scheduler needs of a database."""

    dialect: Dialect

    @property
    def changes(self) -> int:
        """Grows whenever something was written."""

    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def execute(self, call: Call) -> list[Row]: ...
    def is_atomic(self, op: Callable[..., Any]) -> bool:
        """Whether its statements are one transaction."""

    def is_whole(self, op: Callable[..., Any]) -> bool:
        """Whether nothing of another process comes between its statements."""

    def close(self) -> None: ...


@cache
def _in_memory() -> sqlite3.Connection:
    """One for all runs: it keeps the statements that SQLite has compiled."""
    connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=1000)
    connection.executescript(_migrations.script(SqliteDialect(DatabaseClock(Time()))))
    return connection


class Memory:
    """SQLite in memory, emptied. One at a time."""

    def __init__(self, time: Time) -> None:
        self.dialect: Dialect = SqliteDialect(DatabaseClock(time))
        self._connection = _in_memory()
        self.close()

    @property
    def changes(self) -> int:
        return self._connection.total_changes

    def begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        self._connection.execute("ROLLBACK")

    def execute(self, call: Call) -> list[Row]:
        return self._connection.execute(call.sql, call.params).fetchall()

    def is_atomic(self, op: Callable[..., Any]) -> bool:
        """Whatever writes more than once is one transaction, see `sqlite.writer`."""
        return not (marked(op, "reading") or marked(op, "single"))

    def is_whole(self, op: Callable[..., Any]) -> bool:
        return self.is_atomic(op)

    def close(self) -> None:
        """Leave nothing to the next run."""
        if self._connection.in_transaction:
            self.rollback()
        for name in _emptied():
            self._connection.execute(f"DELETE FROM {name}")


class Postgres:
    """A migrated PostgreSQL database, emptied.

    Here processes may come between the statements of an op, unless it is one transaction; or only
    where they may on SQLite, so that a script means the same on both.
    """

    def __init__(self, time: Time, url: str, *, like_sqlite: bool) -> None:
        self._like_sqlite = like_sqlite
        self.dialect: Dialect = PostgresDialect(DatabaseClock(time))
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("SET synchronous_commit = off")
        self._connection.execute(f"TRUNCATE {', '.join(_emptied())}".encode())
        self._executed = 0

    @property
    def changes(self) -> int:
        return self._executed

    def begin(self) -> None:
        self._connection.execute("BEGIN")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        self._connection.execute("ROLLBACK")

    def execute(self, call: Call) -> list[Row]:
        self._executed += 1
        cursor = self._connection.execute(call.sql.encode(), call.params)
        return cursor.fetchall() if cursor.description else []

    def is_atomic(self, op: Callable[..., Any]) -> bool:
        return marked(op, "atomic")

    def is_whole(self, op: Callable[..., Any]) -> bool:
        if self._like_sqlite:
            return not (marked(op, "reading") or marked(op, "single"))
        return self.is_atomic(op)

    def close(self) -> None:
        self._connection.close()


def _emptied() -> list[str]:
    return [name for name in t.metadata.tables if name != "jobq_schema"]


def table(database: Database, name: str, *columns: str) -> Rows:
    """Some columns of all rows, in the order of the first; instants in microseconds."""
    columns = columns or tuple(column.name for column in t.metadata.tables[name].columns)
    of = t.metadata.tables[name].c
    spelled = ", ".join(_spelled(database, of[column]) for column in columns)
    rows = database.execute(Call(f"SELECT {spelled} FROM {name} ORDER BY 1, 2", {}))
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _spelled(database: Database, column: Any) -> str:
    if database.dialect.name == "sqlite":
        return str(column.name)
    if column.type is Instant:
        return f"(extract(epoch FROM {column.name}) * 1000000)::bigint"
    if column.type is Flag:
        return f"{column.name}::int"
    return f"{column.name}::text" if column.type in (Json, Id) else str(column.name)
