"""A database of the project: as Django reaches it, and as a worker reaches it by itself."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.db import connections, transaction

from jobq._errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

VENDORS = ("sqlite", "postgresql")
_DJANGOS_OWN = ("client_encoding", "context", "cursor_factory", "prepare_threshold")
"""What Django tells psycopg about itself."""
_IN_MEMORY = (":memory:", "mode=memory")


def vendor(alias: str) -> str:
    """The kind of a database: "sqlite" or "postgresql"."""
    found = str(connections[alias].vendor)
    if found not in VENDORS:
        raise ConfigurationError(
            f"DATABASES[{alias!r}] is {found}; jobq lives in SQLite or PostgreSQL. Name another "
            f"alias in JOBQ['DATABASE']"
        )
    return found


def is_in_memory(alias: str) -> bool:
    """Whether no other connection can reach a database, as in the tests of many projects."""
    name = str(connections[alias].settings_dict["NAME"])
    return vendor(alias) == "sqlite" and any(mark in name for mark in _IN_MEMORY)


def url(alias: str) -> str:
    """The URL at which a worker reaches a database, through connections of its own."""
    if vendor(alias) == "postgresql":
        return _postgres_url(connections[alias])
    if is_in_memory(alias):
        raise ConfigurationError(
            f"DATABASES[{alias!r}] is in memory, where no worker can reach it; give it a file, or "
            f"use jobq.testing.drain(queue)"
        )
    return f"sqlite:///{quote(_file(alias))}"


def identity(alias: str) -> str:
    """What the backend of that URL calls itself."""
    if vendor(alias) == "postgresql":
        return f"postgresql:{_postgres_url(connections[alias])}"
    return f"sqlite:{os.path.realpath(_file(alias))}"


def _file(alias: str) -> str:
    name = str(connections[alias].settings_dict["NAME"])
    return name.removeprefix("file:").partition("?")[0] if name.startswith("file:") else name


def _postgres_url(connection: Any) -> str:
    given = connection.get_connection_params()
    options = {name: value for name, value in given.items() if name not in _DJANGOS_OWN}
    role = connection.settings_dict["OPTIONS"].get("assume_role")
    if role:
        options["options"] = f"{options.get('options', '')} -c role={role}".strip()
    user, password = (quote(str(options.pop(name, "")), safe="") for name in ("user", "password"))
    who = f"{user}{':' if password else ''}{password}{'@' if user or password else ''}"
    where = quote(str(options.pop("dbname", "")), safe="")
    how = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in options.items())
    return f"postgresql://{who}/{where}{'?' if how else ''}{how}"


def unit_of_work(connection: Any) -> AbstractContextManager[Any]:
    """A transaction, or a savepoint in one that is open.

    On SQLite a transaction of our own has the write lock from its start: one that reads first
    could not get it later, whenever somebody else had written in between.
    """
    atomic: AbstractContextManager[Any] = transaction.atomic(using=connection.alias)
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return atomic
    if not connection.get_autocommit():
        return _begun(connection, atomic)
    return _immediate(connection, atomic)


@contextmanager
def _begun(connection: Any, atomic: AbstractContextManager[Any]) -> Iterator[None]:
    """Where the project ends transactions by itself: a savepoint alone would end with a commit."""
    if not connection.connection.in_transaction:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
    with atomic:
        yield


@contextmanager
def _immediate(connection: Any, atomic: AbstractContextManager[Any]) -> Iterator[None]:
    connection.ensure_connection()
    before, connection.transaction_mode = connection.transaction_mode, "IMMEDIATE"
    with ExitStack() as stack:
        try:
            stack.enter_context(atomic)
        finally:
            connection.transaction_mode = before
        yield


def advice(alias: str) -> list[str]:
    """What a SQLite database lacks to be written to by several processes at a time."""
    connection = connections[alias]
    if vendor(alias) != "sqlite" or is_in_memory(alias):
        return []
    options = connection.settings_dict["OPTIONS"]
    found = []
    if str(options.get("transaction_mode") or "").upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        found.append('"transaction_mode": "IMMEDIATE"')
    with connection.cursor() as cursor:
        [mode] = cursor.execute("PRAGMA journal_mode").fetchone()
    if str(mode).lower() != "wal":
        found.append('"init_command": "PRAGMA journal_mode=WAL"')
    return found
