"""The connections and sessions that an application may hand to jobq, each opened alike."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
)
from typing import Any

import aiosqlite
import psycopg
from attrs import frozen
from psycopg.rows import dict_row
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

REPEATABLE_READ = psycopg.IsolationLevel.REPEATABLE_READ


@frozen
class Caller:
    """A connection or session, and how its owner uses it. Asynchronous ones are awaited."""

    handle: Any
    word: str
    """The argument that takes it: "connection" or "session"."""
    execute: Callable[[str], Any]

    def commit(self) -> Any:
        return self.handle.commit()

    def rollback(self) -> Any:
        return self.handle.rollback()

    @property
    def option(self) -> dict[str, Any]:
        return {self.word: self.handle}


def _path(url: str) -> str:
    return url.removeprefix("sqlite:///")


def _unlike_tuples(cursor: Any, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


# --- synchronous --------------------------------------------------------------------------------


@contextmanager
def _sqlite3(url: str, flavour: str, *, autocommit: bool) -> Iterator[Caller]:
    connection = sqlite3.connect(_path(url), isolation_level=None if autocommit else "DEFERRED")
    if flavour == "other rows":
        connection.row_factory = _unlike_tuples
        connection.text_factory = bytes
    with closing(connection):
        yield Caller(connection, "connection", connection.execute)


@contextmanager
def _psycopg(url: str, flavour: str, *, autocommit: bool) -> Iterator[Caller]:
    rows: Any = {"row_factory": dict_row} if flavour == "other rows" else {}
    with psycopg.connect(url, autocommit=autocommit, **rows) as connection:
        if flavour == "repeatable read":
            connection.isolation_level = REPEATABLE_READ
        yield Caller(connection, "connection", connection.execute)  # type: ignore[arg-type]


def _engine_options(flavour: str, *, autocommit: bool) -> dict[str, Any]:
    levels = {"repeatable read": "REPEATABLE READ"} | (
        {flavour: "AUTOCOMMIT"} if autocommit else {}
    )
    return {"isolation_level": levels[flavour]} if flavour in levels else {}


@contextmanager
def _sqlalchemy(url: str, flavour: str, *, autocommit: bool) -> Iterator[Caller]:
    url = url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, **_engine_options(flavour, autocommit=autocommit))
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        connection = stack.enter_context(engine.connect())
        if flavour == "other rows":
            connection.connection.driver_connection.text_factory = bytes
        yield Caller(connection, "connection", lambda sql: connection.execute(text(sql)))


@contextmanager
def _session(url: str, flavour: str, *, autocommit: bool) -> Iterator[Caller]:
    url = url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, **_engine_options(flavour, autocommit=autocommit))
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        session = stack.enter_context(Session(engine))
        if flavour == "other rows":
            session.connection().connection.driver_connection.text_factory = bytes
        yield Caller(session, "session", lambda sql: session.execute(text(sql)))


# --- asynchronous -------------------------------------------------------------------------------


@asynccontextmanager
async def _aiosqlite(url: str, flavour: str, *, autocommit: bool) -> AsyncIterator[Caller]:
    level = None if autocommit else "DEFERRED"
    async with aiosqlite.connect(_path(url), isolation_level=level) as connection:
        if flavour == "other rows":
            connection.row_factory = _unlike_tuples  # type: ignore[assignment]
            connection.text_factory = bytes
        yield Caller(connection, "connection", connection.execute)


@asynccontextmanager
async def _apsycopg(url: str, flavour: str, *, autocommit: bool) -> AsyncIterator[Caller]:
    rows: Any = {"row_factory": dict_row} if flavour == "other rows" else {}
    connect = psycopg.AsyncConnection.connect
    async with await connect(url, autocommit=autocommit, **rows) as connection:
        if flavour == "repeatable read":
            await connection.set_isolation_level(REPEATABLE_READ)
        yield Caller(connection, "connection", connection.execute)  # type: ignore[arg-type]


def _async_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://").replace(
        "sqlite://", "sqlite+aiosqlite://"
    )


async def _text_as_bytes(connection: Any) -> None:
    (await connection.get_raw_connection()).driver_connection.text_factory = bytes


@asynccontextmanager
async def _asqlalchemy(url: str, flavour: str, *, autocommit: bool) -> AsyncIterator[Caller]:
    options = _engine_options(flavour, autocommit=autocommit)
    engine = create_async_engine(_async_url(url), **options)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        connection = await stack.enter_async_context(engine.connect())
        if flavour == "other rows":
            await _text_as_bytes(connection)
        yield Caller(connection, "connection", lambda sql: connection.execute(text(sql)))


@asynccontextmanager
async def _asession(url: str, flavour: str, *, autocommit: bool) -> AsyncIterator[Caller]:
    options = _engine_options(flavour, autocommit=autocommit)
    engine = create_async_engine(_async_url(url), **options)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        session = await stack.enter_async_context(AsyncSession(engine))
        if flavour == "other rows":
            await _text_as_bytes(await session.connection())
        yield Caller(session, "session", lambda sql: session.execute(text(sql)))


Open = Callable[..., AbstractContextManager[Caller]]
AsyncOpen = Callable[..., AbstractAsyncContextManager[Caller]]

SQLITE = ("default", "other rows")
DRIVER = ("default", "other rows", "repeatable read")
# SQLAlchemy itself cannot do with rows that are no tuples.
SQLALCHEMY = ("default", "repeatable read")

SYNC: list[tuple[str, Open, str, tuple[str, ...]]] = [
    ("sqlite3", _sqlite3, "sqlite", SQLITE),
    ("Connection", _sqlalchemy, "sqlite", SQLITE),
    ("Session", _session, "sqlite", SQLITE),
    ("psycopg", _psycopg, "postgresql", DRIVER),
    ("Connection", _sqlalchemy, "postgresql", SQLALCHEMY),
    ("Session", _session, "postgresql", SQLALCHEMY),
]
ASYNC: list[tuple[str, AsyncOpen, str, tuple[str, ...]]] = [
    ("aiosqlite", _aiosqlite, "sqlite", SQLITE),
    ("AsyncConnection", _asqlalchemy, "sqlite", SQLITE),
    ("AsyncSession", _asession, "sqlite", SQLITE),
    ("psycopg async", _apsycopg, "postgresql", DRIVER),
    ("AsyncConnection", _asqlalchemy, "postgresql", SQLALCHEMY),
    ("AsyncSession", _asession, "postgresql", SQLALCHEMY),
]
