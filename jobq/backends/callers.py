"""Run an op on a connection of the caller's, inside whatever transaction it has open.

Known by shape, without importing what is not there: psycopg and sqlite3 connections, aiosqlite
connections, SQLAlchemy connections and sessions, each sync or async, and Django's connections. The
op is one statement (to complete a job on SQLite takes two); it is never committed here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from jobq._errors import OptionError, SchemaError
from jobq.backends._dialect import Dialect
from jobq.backends._failures import translate
from jobq.backends._statement import Call, Row, drive, drive_async


def _kind(connection: Any) -> str:
    """`driver.Class` of the first base that is known, else an empty text."""
    for base in type(connection).__mro__:
        name = f"{base.__module__.partition('.')[0]}.{base.__name__}"
        if name in _DATABASES:
            return name
    return ""


_DATABASES = {
    "sqlite3.Connection": "sqlite",
    "aiosqlite.Connection": "sqlite",
    "psycopg.Connection": "postgresql",
    "psycopg.AsyncConnection": "postgresql",
    "sqlalchemy.Connection": None,
    "sqlalchemy.AsyncConnection": None,
    "sqlalchemy.Session": None,
    "sqlalchemy.scoped_session": None,
    "sqlalchemy.AsyncSession": None,
    "sqlalchemy.async_scoped_session": None,
    "django.BaseDatabaseWrapper": None,
    "django.ConnectionProxy": None,
}
_ASYNC = ("Async", "aiosqlite", "async_")
_SUPPORTED = (
    "sqlite3, aiosqlite and psycopg connections, SQLAlchemy's Connection and Session "
    "and their Async twins, Django's django.db.connections[alias]"
)


def check(dialect: Dialect, connection: Any, *, is_async: bool) -> str:
    """What kind of connection it is; an error that says what to give instead."""
    kind = _kind(connection)
    if not kind:
        raise OptionError(f"cannot enqueue on {connection!r}: give one of {_SUPPORTED}")
    if any(mark in kind for mark in _ASYNC) != is_async:
        face = "AsyncQueue (queue.aio)" if not is_async else "Queue (queue.sync)"
        raise OptionError(f"{kind} belongs to {face}; this queue is the other face")
    database = _DATABASES[kind]
    if database is not None and database != dialect.name:
        raise OptionError(f"{kind} is {database}, but this queue lives in {dialect.name}")
    return kind


def run(dialect: Dialect, connection: Any, op: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    """Drive an op on a synchronous connection or session."""
    kind = check(dialect, connection, is_async=False)
    with _schema_explained():
        if kind.startswith("django."):
            return _on_django(dialect, connection, op, args, kw)
        execute = _sync_executor(dialect, kind, connection)
        return drive(op(dialect, *args, **kw), execute)


@contextmanager
def _schema_explained() -> Iterator[None]:
    """Say what to do where jobq's tables are missing; any other error passes through unchanged."""
    try:
        yield
    except Exception as error:
        failure = translate(_driver_error(error))
        if isinstance(failure, SchemaError):
            raise failure from error
        raise


def _driver_error(error: BaseException) -> BaseException:
    """What SQLAlchemy and Django wrap."""
    wrapped = getattr(error, "orig", None)
    if type(error).__module__ == "django.db.utils":
        wrapped = error.__cause__
    return wrapped if isinstance(wrapped, BaseException) else error


async def run_async(
    dialect: Dialect, connection: Any, op: Callable[..., Any], *args: Any, **kw: Any
) -> Any:
    """Drive an op on an asynchronous connection or session."""
    with _schema_explained():
        return await _run_async(dialect, connection, op, args, kw)


async def _run_async(
    dialect: Dialect, connection: Any, op: Callable[..., Any], args: Any, kw: Any
) -> Any:
    kind = check(dialect, connection, is_async=True)
    if kind.startswith("sqlalchemy."):
        if "ession" in kind:
            connection = await connection.connection()
        return await connection.run_sync(_on_sqlalchemy, dialect, op, args, kw)
    if kind == "aiosqlite.Connection":
        return await _on_aiosqlite(dialect, connection, op, args, kw)

    async def execute(call: Call) -> list[Row]:
        cursor = connection.cursor(row_factory=_tuple_row())
        await cursor.execute(call.sql, call.params)
        return await cursor.fetchall() if cursor.description else []

    return await drive_async(op(dialect, *args, **kw), execute)


def _sync_executor(dialect: Dialect, kind: str, connection: Any) -> Callable[[Call], list[Row]]:
    if kind == "sqlite3.Connection":
        return lambda call: _on_sqlite(connection, call)
    if kind == "psycopg.Connection":

        def execute(call: Call) -> list[Row]:
            cursor = connection.cursor(row_factory=_tuple_row())
            cursor.execute(call.sql, call.params)
            return cursor.fetchall() if cursor.description else []

        return execute
    if "ession" in kind:
        connection = connection.connection()
    _check_sqlalchemy(dialect, connection)
    return lambda call: _exec_driver_sql(connection, call)


def _on_sqlite(connection: Any, call: Call) -> list[Row]:
    cursor = connection.cursor()
    cursor.row_factory = None
    rows = cursor.execute(call.sql, call.params).fetchall()
    return [tuple(_as_text(value) for value in row) for row in rows]


def _as_text(value: Any) -> Any:
    """Undo a caller's `text_factory`; jobq itself stores no blobs."""
    return bytes(value).decode() if isinstance(value, bytes | bytearray) else value


async def _on_aiosqlite(
    dialect: Dialect, connection: Any, op: Callable[..., Any], args: Any, kw: Any
) -> Any:
    async def execute(call: Call) -> list[Row]:
        cursor = await connection.cursor()
        cursor.row_factory = None
        await cursor.execute(call.sql, call.params)
        rows = await cursor.fetchall()
        await cursor.close()
        return [tuple(_as_text(value) for value in row) for row in rows]

    return await drive_async(op(dialect, *args, **kw), execute)


def _on_sqlalchemy(connection: Any, dialect: Dialect, op: Any, args: Any, kw: Any) -> Any:
    _check_sqlalchemy(dialect, connection)
    return drive(op(dialect, *args, **kw), lambda call: _exec_driver_sql(connection, call))


def _check_sqlalchemy(dialect: Dialect, connection: Any) -> None:
    theirs = connection.dialect
    if theirs.name != dialect.name:
        raise OptionError(
            f"the session is bound to {theirs.name}, but this queue lives in {dialect.name}"
        )
    if theirs.name == "postgresql" and theirs.driver not in (
        "psycopg",
        "psycopg2",
        "psycopg_async",
    ):
        raise OptionError(
            f"sessions over {theirs.driver!r} are not supported, because it spells parameters "
            f"differently; use postgresql+psycopg:// for the engine"
        )


def _exec_driver_sql(connection: Any, call: Call) -> list[Row]:
    result = connection.exec_driver_sql(call.sql, call.params)
    if not result.returns_rows:
        return []
    # Past SQLAlchemy's own row, in case the driver's cursor was given another row factory.
    return [tuple(_as_text(value) for value in row) for row in result.fetchall()]


def _on_django(dialect: Dialect, connection: Any, op: Any, args: Any, kw: Any) -> Any:
    theirs = getattr(connection, "vendor", None)
    if theirs != dialect.name:
        raise OptionError(f"{connection!r} is {theirs}, but this queue lives in {dialect.name}")
    call = op(dialect.pyformat(), *args, **kw)
    return drive(call, partial(execute_on_django, connection))


def execute_on_django(connection: Any, call: Call) -> list[Row]:
    """Run a statement on Django's own cursor, which counts, logs and guards its queries."""
    with connection.cursor() as cursor:
        cursor.execute(call.sql, call.params or None)
        return [*map(tuple, cursor.fetchall())] if cursor.description else []


def _tuple_row() -> Any:
    from psycopg.rows import tuple_row

    return tuple_row


def is_awaitable(connection: Any) -> bool:
    """Whether a connection or session is to be awaited."""
    return any(mark in _kind(connection) for mark in _ASYNC) or inspect.isawaitable(connection)
