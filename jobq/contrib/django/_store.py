"""Run ops on Django's own connection, inside whatever transaction it has open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from attrs import frozen
from django.db import Error, connections, transaction

from jobq import backends
from jobq._clock import Clock
from jobq._errors import BackendUnavailable, SchemaError
from jobq._wakeup import is_awaited, wake
from jobq.backends import _migrations
from jobq.backends._dialect import Dialect
from jobq.backends._failures import translate
from jobq.backends._statement import Op, drive, marked
from jobq.backends.callers import execute_on_django
from jobq.backends.ops.insert import NewRow, tell
from jobq.contrib.django import _database

CHUNK = 1000


def dialect_of(alias: str, clock: Clock) -> Dialect:
    """How statements are spelled for Django's cursor."""
    # Each brings its half of SQLAlchemy's dialects along, some megabytes.
    if _database.vendor(alias) == "postgresql":
        from jobq.backends._postgres_dialect import PostgresDialect

        return PostgresDialect(clock)
    from jobq.backends._sqlite_dialect import PyformatSqliteDialect

    return PyformatSqliteDialect(clock)


@frozen
class _At:
    """A clock that stands still, for what is stored by several statements."""

    instant: int
    frozen = True

    def now(self) -> int:
        return self.instant


class DjangoStore:
    """A database for synchronous callers: each thread has Django's connection of its own."""

    def __init__(self, alias: str, clock: Clock) -> None:
        self.alias = alias
        self.dialect = dialect_of(alias, clock)

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._unit(op) as connection:
            return self._drive(connection, op(self.dialect, *args, **kwargs))

    def bulk(self, rows: Sequence[NewRow]) -> int:
        """Store rows that have no unique keys, in one transaction; when they were created."""
        with self._unit(backends.ops.retry) as connection:
            now: int = self._drive(connection, backends.ops.clock(self.dialect))
            frozen = type(self.dialect)(_At(now))
            for start in range(0, len(rows), CHUNK):
                some = rows[start : start + CHUNK]
                self._drive(connection, backends.ops.insert_many(frozen, some))
        return now

    @staticmethod
    def _drive(connection: Any, op: Op[Any]) -> Any:
        return drive(op, partial(execute_on_django, connection))

    @contextmanager
    def _unit(self, op: Callable[..., Any]) -> Iterator[Any]:
        connection = connections[self.alias]
        try:
            with _database.unit_of_work(connection) if self._several(op) else nullcontext():
                yield connection
        except Error as error:
            explained = self._explained(error)
            if explained is None:
                raise
            raise explained from error

    def _several(self, op: Callable[..., Any]) -> bool:
        """Whether an op may take more than one writing statement."""
        if self.dialect.writes_in_ctes:
            return marked(op, "atomic")
        return not (marked(op, "single") or marked(op, "reading"))

    def _explained(self, error: BaseException) -> Exception | None:
        """A database error as jobq's own, with what a Django project can do about it."""
        failure = translate(error.__cause__ or error)
        if isinstance(failure, SchemaError):
            text = str(failure).partition(": run ")[0]
            return SchemaError(f"{text}: run `manage.py migrate --database {self.alias}`")
        if isinstance(failure, BackendUnavailable) and "locked" in str(failure):
            return BackendUnavailable(f"{failure}{self._lock_advice()}")
        return failure

    def _lock_advice(self) -> str:
        lacking: list[str] = []
        with suppress(Error):
            lacking = _database.advice(self.alias)
        if not lacking:
            return "; look for a long write transaction, or raise OPTIONS['timeout']"
        return f"; give DATABASES[{self.alias!r}] the OPTIONS {{{', '.join(lacking)}}}"

    def notifies_now(self, queue: str) -> bool:
        """Along with the job: the server holds it back until the transaction commits."""
        return self.dialect.notifies

    def notified(self, queue: str) -> None:
        self._wake_on_commit()

    def notify(self, queue: str) -> None:
        if self.dialect.notifies:
            self.run(tell, [queue])
        self._wake_on_commit()

    def _wake_on_commit(self) -> None:
        """Wake this process's own workers, if it has any."""
        identity = _database.identity(self.alias)
        if is_awaited(identity):
            transaction.on_commit(partial(wake, identity), using=self.alias, robust=True)

    def migrate(self) -> list[int]:
        """Bring the schema up to date."""
        return self.run(_migrations.migrate)  # type: ignore[no-any-return]

    def close(self) -> None:
        """The connections are Django's to close."""


class AsyncDjangoStore:
    """For the event loop of a drain: in the thread that Django's asynchronous calls use."""

    def __init__(self, alias: str, clock: Clock) -> None:
        self._store = DjangoStore(alias, clock)
        self.dialect = self._store.dialect

    async def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await _in_djangos_thread(self._store.run, op, *args, **kwargs)

    async def bulk(self, rows: Sequence[NewRow]) -> int:
        return await _in_djangos_thread(self._store.bulk, rows)  # type: ignore[no-any-return]

    def notifies_now(self, queue: str) -> bool:
        return self._store.notifies_now(queue)

    def notified(self, queue: str) -> None:
        """The worker that drains looks again by itself, and so for `notify`."""

    notify = notified

    async def migrate(self) -> list[int]:
        return await _in_djangos_thread(self._store.migrate)  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        """The connections are Django's to close."""


async def _in_djangos_thread(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return await sync_to_async(call, thread_sensitive=True)(*args, **kwargs)


class BridgedStore:
    """For a thread beside an event loop: what it asks is done in Django's thread as well."""

    def __init__(self, store: AsyncDjangoStore, within: float) -> None:
        self._run = store.run
        self._loop = asyncio.get_running_loop()
        self._within = within
        self.dialect = store.dialect

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        asked = asyncio.run_coroutine_threadsafe(self._run(op, *args, **kwargs), self._loop)
        try:
            return asked.result(self._within)
        except TimeoutError:
            asked.cancel()
            raise BackendUnavailable("Django's thread is busy with something else") from None

    def close(self) -> None:
        """Nothing is open here."""
