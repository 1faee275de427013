"""What a run has: its databases and sizes, the peers that could be installed, the rows by name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Self, TypeVar

from attrs import frozen

from benchmarks.contest import Contest
from benchmarks.database import Database
from jobq.testing._postgres import PostgresServer, drop_database

Size = TypeVar("Size")
STORES = ("sqlite", "postgresql")


class Bench:
    """A `with` block that ends what it started."""

    def __init__(
        self, folder: Path, environments: Path, stores: tuple[str, ...], quick: bool
    ) -> None:
        self.folder = folder
        self.environments = environments
        self.stores = stores
        self.quick = quick
        self._ends = ExitStack()
        self._names = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def size(self, full: Size, quick: Size) -> Size:
        """The one or the other, by how thorough the run is."""
        return quick if self.quick else full

    @cached_property
    def server(self) -> PostgresServer:
        """The server that contestants take turns on, each in a database of its own."""
        started = PostgresServer.start(durable=True, max_connections=400)
        return self._ends.enter_context(started)

    @contextmanager
    def database(self, store: str) -> Iterator[Database]:
        """A new, empty database."""
        name = f"bench_{next(self._names)}"
        if store == "sqlite":
            yield Database(f"sqlite:///{self.folder / name}.db")
            for file in self.folder.glob(f"{name}.db*"):
                file.unlink()
            return
        yield Database.new(self.server, name)
        drop_database(self.server.superuser_url, name)

    @contextmanager
    def own_server(self, **settings: str) -> Iterator[PostgresServer]:
        """A server with other settings than the one that contestants take turns on."""
        with PostgresServer.start(durable=True, **settings) as server:
            yield server

    @contextmanager
    def counting(self) -> Iterator[Database]:
        """A database on a server of its own that counts statements."""
        with self.own_server(shared_preload_libraries="pg_stat_statements") as server:
            database = Database.new(server, "counting")
            database.counts_statements = True
            database.sql("CREATE EXTENSION pg_stat_statements")
            yield database


Play = Callable[[Bench, str], Iterator[Contest]]


@frozen
class Row:
    """One row of the table, or a few that belong together."""

    name: str
    about: str
    play: Play
    stores: tuple[str, ...]
    """The databases that it is played on; an empty name for what needs none."""


ROWS: dict[str, Row] = {}


def row(name: str, stores: tuple[str, ...] = STORES) -> Callable[[Play], Play]:
    """Register a row: its docstring says what is measured."""

    def register(play: Play) -> Play:
        about = " ".join((play.__doc__ or "").split())
        ROWS[name] = Row(name, about, play, stores)
        return play

    return register
