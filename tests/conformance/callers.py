"""The connections and sessions that an application may hand to jobq, each opened alike."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
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
    yield Caller(connection, "connection", connection.execute)
    connection.close()


@contextmanager
def _psycopg(url: str, flavour: str, *, autocommit: bool) -> Iterator[Caller]:
    rows: Any = {"row_factory": dict_row} if flavour == "other rows" else {}
    with psycopg.connect(url, autocommit=autocommit, **rows) as connection:
        if flavour == "repeatable read":
            connection.isolation_level = REPEATABLE_READ
        yield Caller(connection, "connection", connection.execute)  # type: ignore[arg-type]
        connection.rollback()


def _engine_options(flavour: str, *, autocommit: bool) -> dict[str, Any]:
    levels = {"repeatable read": "REPEATABLE READ"} | ({flavour: "AUTOCOMMIT"} if autocommit else {})
    return {"isolation_level": levels[flavour]} if flavour in levels else {}


def _unlike_text(connection: Any) -> None:
    """Let the driver below SQLAlchemy give other things than it does by default."""
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        driver.text_factory = bytes
    else:
        connection.execution_options(stream_results=True)


@contextmanager
def _sqlalchemy(url: str, flavour: str, *, autocommit: bool) -> Iterator[Caller]:
    url = url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, **_engine_options(flavour, autocommit=autocommit))
    with engine.connect() as connection:
        if flavour == "other rows":
            _unlike_text(connection)
        yield Caller(connection, "connection", lambda sql: connection.execute(text(sql)))
        connection.rollback()
    engine.dispose()


@contextmanager
def _session(url: str, flavour: str, *, autocommit: bool) -> Iterator[Caller]:
    url = url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, **_engine_options(flavour, autocommit=autocommit))
    with Session(engine) as session:
        if flavour == "other rows":
            _unlike_text(session.connection())
        yield Caller(session, "session", lambda sql: session.execute(text(sql)))
    engine.dispose()


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
        await connection.rollback()


def _async_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://").replace(
        "sqlite://", "sqlite+aiosqlite://"
    )


async def _unlike_text_too(connection: Any) -> None:
    driver = (await connection.get_raw_connection()).driver_connection
    if isinstance(driver, aiosqlite.Connection):
        driver.text_factory = bytes


@asynccontextmanager
async def _asqlalchemy(url: str, flavour: str, *, autocommit: bool) -> AsyncIterator[Caller]:
    options = _engine_options(flavour, autocommit=autocommit)
    engine = create_async_engine(_async_url(url), **options)
    async with engine.connect() as connection:
        if flavour == "other rows":
            await _unlike_text_too(connection)
        yield Caller(connection, "connection", lambda sql: connection.execute(text(sql)))
        await connection.rollback()
    await engine.dispose()


@asynccontextmanager
async def _asession(url: str, flavour: str, *, autocommit: bool) -> AsyncIterator[Caller]:
    options = _engine_options(flavour, autocommit=autocommit)
    engine = create_async_engine(_async_url(url), **options)
    async with AsyncSession(engine) as session:
        if flavour == "other rows":
            await _unlike_text_too(await session.connection())
        yield Caller(session, "session", lambda sql: session.execute(text(sql)))
    await engine.dispose()


Open = Callable[..., AbstractContextManager[Caller]]
AsyncOpen = Callable[..., AbstractAsyncContextManager[Caller]]

SYNC: dict[str, tuple[Open, tuple[str, ...]]] = {
    "sqlite3": (_sqlite3, ("sqlite",)),
    "psycopg": (_psycopg, ("postgresql",)),
    "Connection": (_sqlalchemy, ("sqlite", "postgresql")),
    "Session": (_session, ("sqlite", "postgresql")),
}
ASYNC: dict[str, tuple[AsyncOpen, tuple[str, ...]]] = {
    "aiosqlite": (_aiosqlite, ("sqlite",)),
    "psycopg async": (_apsycopg, ("postgresql",)),
    "AsyncConnection": (_asqlalchemy, ("sqlite", "postgresql")),
    "AsyncSession": (_asession, ("sqlite", "postgresql")),
}
FLAVOURS = {
    "sqlite": ("default", "other rows"),
    "postgresql": ("default", "other rows", "repeatable read"),
}
