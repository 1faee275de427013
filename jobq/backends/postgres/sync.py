"""The synchronous face of PostgreSQL."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from attrs import evolve
from psycopg_pool import ConnectionPool, PoolTimeout

from jobq._errors import BackendUnavailable, OutcomeUnknown
from jobq.backends import _migrations
from jobq.backends._failures import translate
from jobq.backends._forks import abandon, watch_forks
from jobq.backends._options import PostgresOptions
from jobq.backends._postgres_dialect import PostgresDialect
from jobq.backends._statement import Call, Row, drive, marked
from jobq.backends.ops._moves import clock
from jobq.backends.ops.bulk import COPY, copy_blocks
from jobq.backends.ops.insert import NewRow, tell
from jobq.backends.postgres import hints
from jobq.backends.postgres.attempts import Attempts
from jobq.backends.postgres.connections import (
    Connection,
    configure,
    pool_args,
    prepares,
    rest_before,
    returns_rows,
    slice_of,
    unbounded,
)
from jobq.backends.postgres.plans import AS_USUAL
from jobq.backends.postgres.reserved import Reserved
from jobq.observe import logger

Pool = ConnectionPool[Connection] | Reserved


class PostgresStore(hints.Hinting):
    """The synchronous face, for all threads: on a pool, or on one connection of its own."""

    def __init__(
        self, options: PostgresOptions, dialect: PostgresDialect, *, reserved: str | None = None
    ) -> None:
        super().__init__()
        self._options = options
        self.dialect = dialect
        self._reserved = reserved
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._attempts = Attempts()
        self._distrusted = 0.0
        """When a connection last fell silent: those made before may be as dead."""
        self._checked = False
        watch_forks(self)

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._checked:
            self._open()  # its check of the schema has a patience of its own
        deadline = time.monotonic() + self._options.patience
        tries, unknown = 0, None
        while True:
            try:
                return self._try(op, args, kwargs)
            except BackendUnavailable as error:
                unknown = unknown or (error if isinstance(error, OutcomeUnknown) else None)
                rest = rest_before(deadline, tries)
                if rest is None:
                    raise unknown or error from error.__cause__
                tries += 1
                if marked(op, "knows_again"):
                    kwargs = {**kwargs, "again": True}
                time.sleep(rest)

    def _try(self, op: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        with self._connection(writing=not marked(op, "reading")) as connection:

            def execute(call: Call) -> list[Row]:
                prepare = prepares(call, self._options, connection)
                cursor = connection.take_cursor(call.sql)
                cursor.execute(call.sql, call.params, prepare=prepare)
                rows = cursor.fetchall() if returns_rows(cursor) else []
                connection.leave_cursor(call.sql, cursor)
                return rows

            if marked(op, "atomic"):
                with connection.transaction():
                    return drive(op(self.dialect, *args, **kwargs), execute)
            return drive(op(self.dialect, *args, **kwargs), execute)

    def bulk(self, rows: Sequence[NewRow]) -> int:
        """Store rows that have no unique keys, by COPY; the instant at which they were created."""
        now: int = self.run(clock)
        with self._connection(writing=True) as connection, connection.transaction():
            connection.execute(unbounded())
            with connection.cursor().copy(COPY) as copy:
                for block in copy_blocks(rows, now):
                    copy.write(block)
        return now

    @contextmanager
    def _connection(self, *, writing: bool) -> Iterator[Connection]:
        pool = self._open()
        connection = self._take(pool)
        try:
            yield connection
        except psycopg.Error as error:
            raise translate(error, writing=writing) or error from error
        finally:
            if connection.silent:
                self._distrusted = time.monotonic()
            pool.putconn(connection)

    def _take(self, pool: Pool) -> Connection:
        """A connection. A pool is asked again and again: by itself it rests for seconds."""
        deadline = time.monotonic() + self._options.patience
        while True:
            try:
                connection = pool.getconn(timeout=slice_of(deadline))
            except PoolTimeout as error:
                if time.monotonic() < deadline:
                    continue
                reason = self._attempts.reason(self._options.pool_size)
                raise BackendUnavailable(f"PostgreSQL: no connection: {reason}") from error
            except psycopg.Error as error:
                raise translate(error) or error from error
            if connection.made_at >= self._distrusted:
                return connection
            connection.close()
            pool.putconn(connection)

    def _open(self) -> Pool:
        with self._lock:
            if self._pool is None:
                self._pool = self._new_pool()
                _closing_at_exit.add(self)
            pool = self._pool
        if not self._checked:
            self._checked = True
            try:
                _migrations.check(*self.run(_migrations.installed))
            except BaseException:
                self._checked = False
                raise
        return pool

    def _new_pool(self) -> Pool:
        if self._reserved is not None:
            return Reserved(self._options, self._reserved)
        return ConnectionPool(
            self._options.url,
            connection_class=Connection,
            open=True,
            configure=self._configure,
            **pool_args(self._options, self._attempts),
        )

    def _configure(self, connection: Connection) -> None:
        with self._attempts.noted():
            configure(self._options, connection, AS_USUAL)

    def migrate(self) -> list[int]:
        """Bring the schema up to date, on a connection of its own, however long that takes."""
        options = evolve(self._options, statement_timeout=None)
        store = PostgresStore(options, self.dialect, reserved="jobq migrate")
        store._checked = True
        try:
            return store.run(_migrations.migrate)  # type: ignore[no-any-return]
        finally:
            store.close()

    def notify(self, queue: str) -> None:
        """See that workers are told, a moment from now."""
        if self._hints.trails(queue):
            threading.Thread(target=self._attend, name="jobq hints", daemon=True).start()

    def _attend(self) -> None:
        while (rest := self._hints.rest()) is not None:
            time.sleep(rest)
            self._send()

    def _send(self, *, everything: bool = False) -> None:
        queues = self._hints.take(everything=everything)
        if queues:
            try:
                self.run(tell, queues)
            except Exception:  # noqa: BLE001  the next hints need their attendant
                logger.warning("could not NOTIFY; workers will find the jobs by polling")

    def close(self) -> None:
        if self._pool is not None:
            self._send(everything=True)
            self._pool.close(timeout=1.0)
        self._pool = None
        _closing_at_exit.discard(self)

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork(self, *, in_child: bool) -> None:
        """In a child: a pool of its own, when it needs one."""
        if in_child:
            self._hints = hints.Hints()
            if self._pool is not None:
                abandon(self._pool)
                self._pool = None
        self._lock.release()


_closing_at_exit: weakref.WeakSet[PostgresStore] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for store in list(_closing_at_exit):
        with suppress(Exception):
            store.close()
