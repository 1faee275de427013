"""PostgreSQL: psycopg 3 with a pool; LISTEN/NOTIFY as a hint, never as the only way.

Connections are in autocommit mode, so an op of one statement is one round trip, and only ops that
ask for it get a transaction. Nothing depends on the session but LISTEN, so a transaction-pooling
PgBouncer may stand between; `listen_url` then names the server itself.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import psycopg
from attrs import frozen
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from jobq._errors import BackendError, BackendUnavailable, ConfigurationError
from jobq._masking import mask
from jobq._payload import dumps
from jobq.backends import _migrations
from jobq.backends._dialect import PostgresDialect
from jobq.backends._failures import translate
from jobq.backends._forks import abandon, watch_forks
from jobq.backends._statement import Call, Row, drive, drive_async, marked
from jobq.backends.ops.bulk import COPY, copy_blocks
from jobq.backends.ops.insert import CHANNEL, NewRow
from jobq.observe import logger

COALESCE = 0.01
"""Seconds in which one NOTIFY stands for all jobs of a queue."""
TRAIL = 1.5 * COALESCE
"""When the trailing one follows. Later than the next leading one, which in a stream saves it."""


@frozen(kw_only=True)
class PostgresOptions:
    """How to connect.

    Statements are prepared unless a transaction pooler stands between, where they would meet those
    of other clients. `prepare=True` is for a PgBouncer that keeps them apart (1.21 or newer, with
    `max_prepared_statements`); `False` never prepares.
    """

    url: str
    listen_url: str | None = None
    pool_size: int = 10
    prepare: bool | None = None
    patience: float = 5.0
    """How long a call goes on trying while the server cannot be reached, in seconds."""


def parse(url: str, **options: Any) -> PostgresOptions:
    """`postgresql://user:password@host/database`; SQLAlchemy's `postgresql+psycopg://` as well."""
    scheme, _, rest = url.partition("://")
    plain = "postgresql://" + rest
    try:
        parts = urlsplit(plain)
        _ = parts.port
        psycopg.conninfo.conninfo_to_dict(plain)
    except (ValueError, psycopg.Error) as error:
        raise ConfigurationError(f"{scheme}://… is no PostgreSQL URL: {error}") from None
    try:
        return PostgresOptions(url=plain, **options)
    except TypeError as error:
        raise ConfigurationError(f"PostgreSQL queue: {error}") from None


def _connect_args(name: str) -> dict[str, Any]:
    return {
        "autocommit": True,
        "application_name": name,
        "connect_timeout": 5,
        # A peer that vanished without a word is noticed by the kernel.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }


def _cancellations() -> int:
    """How often this task was cancelled.

    The pool waits with `asyncio.wait_for`, which before Python 3.12 loses a cancellation that
    comes together with what it waits for.
    """
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _why_no_connection(options: PostgresOptions) -> str:
    """The reason that a pool does not tell: a refusal, a wrong password, or all are in use."""
    try:
        psycopg.connect(options.url, connect_timeout=2).close()
    except psycopg.Error as error:
        return mask(str(error).strip())
    return f"all {options.pool_size} of the pool are in use"


def _pooled(info: psycopg.ConnectionInfo, pid: int) -> bool:
    """Whether the server that answers is another than the one we connected to."""
    return info.backend_pid != pid


def _configure(options: PostgresOptions, connection: psycopg.Connection[Any]) -> None:
    if options.prepare is None:
        row = connection.execute(_PID).fetchone()
        if row and _pooled(connection.info, row[0]):
            connection.prepare_threshold = None


async def _configure_async(
    options: PostgresOptions, connection: psycopg.AsyncConnection[Any]
) -> None:
    if options.prepare is None:
        row = await (await connection.execute(_PID)).fetchone()
        if row and _pooled(connection.info, row[0]):
            connection.prepare_threshold = None


_PID = "SELECT pg_backend_pid()"


def _prepare(call: Call, options: PostgresOptions) -> bool:
    return options.prepare is not False and not call.replan


def _patience(deadline: float, tries: int) -> float | None:
    """Seconds to rest before the next try, or `None` to give up."""
    if tries == 0 and time.monotonic() < deadline:
        return 0.0  # a pooled connection that died while idle
    rest = min(0.05 * 2**tries, 1.0)
    return rest if time.monotonic() + rest < deadline else None


class Hints:
    """NOTIFY, coalesced: the first job of a burst wakes workers at once, the last one by a trail.

    A queue's first NOTIFY rides in the enqueuing transaction. Those that commit within the next
    10 ms leave it out, and one NOTIFY a little later stands for them all, so no hint is lost.
    """

    def __init__(self) -> None:
        self._sent: dict[str, float] = {}
        self._trailing: set[str] = set()
        self._covered: set[str] = set()
        """Queues whose trailing NOTIFY a leading one, now under way, makes needless."""
        self._lock = threading.Lock()

    def leads(self, queue: str) -> bool:
        """Whether the NOTIFY should ride in the transaction that is about to begin."""
        now = time.monotonic()
        with self._lock:
            if now - self._sent.get(queue, 0.0) < COALESCE:
                return False
            self._sent[queue] = now
            if queue in self._trailing:
                self._trailing.discard(queue)
                self._covered.add(queue)
            return True

    def trails(self, queue: str) -> bool:
        """Whether the caller has to arrange for the trailing NOTIFY; it may be under way."""
        with self._lock:
            if queue in self._trailing:
                return False
            self._trailing.add(queue)
            return True

    def sent(self, queue: str) -> None:
        """A leading NOTIFY was committed: it stands for those that trailed before it began.

        Not for those that came since; it may have been heard before they were committed.
        """
        with self._lock:
            self._covered.discard(queue)

    def take(self) -> list[str]:
        """The queues whose trailing NOTIFY is due now."""
        with self._lock:
            queues = sorted(self._trailing | self._covered)
            self._trailing.clear()
            self._covered.clear()
            now = time.monotonic()
            self._sent.update(dict.fromkeys(queues, now))
            return queues


def _notify(_: PostgresDialect, queues: list[str]) -> Any:
    yield Call(
        f"SELECT pg_notify('{CHANNEL}', q) FROM json_array_elements_text(%(queues)s::json) q",  # noqa: S608
        {"queues": dumps(queues)},
    )


def _clock(_: PostgresDialect) -> Any:
    rows = yield Call("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", {})
    return rows[0][0]


class PostgresStore:
    """The synchronous face: any thread may call it."""

    def __init__(self, options: PostgresOptions, dialect: PostgresDialect) -> None:
        self._options = options
        self.dialect = dialect
        self._lock = threading.Lock()
        self._pool: ConnectionPool | None = None
        self._checked = False
        self._hints = Hints()
        self._timer: threading.Timer | None = None
        watch_forks(self)

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._checked:
            self._open()  # its check of the schema has a patience of its own
        deadline = time.monotonic() + self._options.patience
        tries = 0
        while True:
            try:
                return self._try(op, args, kwargs)
            except BackendUnavailable:
                rest = _patience(deadline, tries)
                if rest is None:
                    raise
                tries += 1
                if marked(op, "knows_again"):
                    kwargs = {**kwargs, "again": True}
                time.sleep(rest)

    def _try(self, op: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        with self._connection() as connection:
            cursor = connection.cursor()

            def execute(call: Call) -> list[Row]:
                prepare = _prepare(call, self._options)
                cursor.execute(call.sql, call.params, prepare=prepare)
                return cursor.fetchall() if cursor.description else []

            if marked(op, "atomic"):
                with connection.transaction():
                    return drive(op(self.dialect, *args, **kwargs), execute)
            return drive(op(self.dialect, *args, **kwargs), execute)

    def bulk(self, rows: Sequence[NewRow]) -> int:
        """Store rows that have no unique keys, by COPY; the instant at which they were created."""
        now = self.run(_clock) if not self.dialect.clock.frozen else self.dialect.clock.now()
        with self._connection() as connection, connection.transaction():
            cursor = connection.cursor()
            with cursor.copy(COPY) as copy:
                for block in copy_blocks(rows, now):
                    copy.write(block)
        return now

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        pool = self._open()
        try:
            connection = pool.getconn(timeout=self._options.patience)
        except PoolTimeout as error:
            reason = _why_no_connection(self._options)
            raise BackendUnavailable(f"PostgreSQL: no connection: {reason}") from error
        try:
            yield connection
        except psycopg.Error as error:
            raise translate(error) or error from error
        finally:
            pool.putconn(connection)

    def _open(self) -> ConnectionPool:
        with self._lock:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._options.url,
                    min_size=0,
                    max_size=self._options.pool_size,
                    kwargs=_connect_args("jobq"),
                    open=True,
                    name="jobq",
                    configure=partial(_configure, self._options),
                    reconnect_timeout=self._options.patience,
                )
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

    def migrate(self) -> list[int]:
        self._checked = True
        return self.run(_migrations.migrate)  # type: ignore[no-any-return]

    def notifies_now(self, queue: str) -> bool:
        """Whether the caller's statement should carry the NOTIFY."""
        return self._hints.leads(queue)

    def notified(self, queue: str) -> None:
        """A statement that carried the NOTIFY was committed."""
        self._hints.sent(queue)

    def notify(self, queue: str) -> None:
        """See that workers are told, a moment from now."""
        if self._hints.trails(queue):
            self._timer = threading.Timer(TRAIL, self._send)
            self._timer.daemon = True
            self._timer.start()

    def _send(self) -> None:
        queues = self._hints.take()
        if queues:
            try:
                self.run(_notify, queues)
            except BackendError:
                logger.warning("could not NOTIFY; workers will find the jobs by polling")

    def close(self) -> None:
        if self._pool is not None:
            self._send()
            self._pool.close(timeout=1.0)
        self._pool = None
        _closing_at_exit.discard(self)

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork(self, *, in_child: bool) -> None:
        """In a child: a pool of its own, when it needs one."""
        if in_child:
            self._hints, self._timer = Hints(), None
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


class AsyncPostgresStore:
    """The asynchronous face, for one event loop."""

    def __init__(self, options: PostgresOptions, dialect: PostgresDialect) -> None:
        self._options = options
        self.dialect = dialect
        self._pool: AsyncConnectionPool | None = None
        self._opening = asyncio.Lock()
        self._checked = False
        self._hints = Hints()
        self._trail: asyncio.Task[None] | None = None

    async def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._checked:
            await self._open()  # its check of the schema has a patience of its own
        deadline = time.monotonic() + self._options.patience
        tries = 0
        while True:
            try:
                return await self._try(op, args, kwargs)
            except BackendUnavailable:
                rest = _patience(deadline, tries)
                if rest is None:
                    raise
                tries += 1
                if marked(op, "knows_again"):
                    kwargs = {**kwargs, "again": True}
                await asyncio.sleep(rest)

    async def _try(self, op: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        async def work(connection: psycopg.AsyncConnection[Any]) -> Any:
            cursor = connection.cursor()

            async def execute(call: Call) -> list[Row]:
                prepare = _prepare(call, self._options)
                await cursor.execute(call.sql, call.params, prepare=prepare)
                return await cursor.fetchall() if cursor.description else []

            if marked(op, "atomic"):
                async with connection.transaction():
                    return await drive_async(op(self.dialect, *args, **kwargs), execute)
            return await drive_async(op(self.dialect, *args, **kwargs), execute)

        return await self._with_connection(work)

    async def bulk(self, rows: Sequence[NewRow]) -> int:
        """Store rows that have no unique keys, by COPY; the instant at which they were created."""
        frozen_clock = self.dialect.clock.frozen
        now = self.dialect.clock.now() if frozen_clock else await self.run(_clock)

        async def work(connection: psycopg.AsyncConnection[Any]) -> None:
            async with connection.transaction(), connection.cursor().copy(COPY) as copy:
                for block in copy_blocks(rows, now):
                    await copy.write(block)

        await asyncio.shield(self._with_connection(work))
        return now

    async def _with_connection(
        self, work: Callable[[psycopg.AsyncConnection[Any]], Awaitable[Any]]
    ) -> Any:
        pool = self._pool if self._checked and self._pool is not None else await self._open()
        cancellations = _cancellations()
        try:
            connection = await pool.getconn(timeout=self._options.patience)
        except PoolTimeout as error:
            reason = await asyncio.to_thread(_why_no_connection, self._options)
            raise BackendUnavailable(f"PostgreSQL: no connection: {reason}") from error
        try:
            if _cancellations() > cancellations:
                raise asyncio.CancelledError
            return await work(connection)
        except psycopg.Error as error:
            raise translate(error) or error from error
        finally:
            await pool.putconn(connection)

    async def _open(self) -> AsyncConnectionPool:
        async with self._opening:
            if self._pool is None:
                pool = AsyncConnectionPool(
                    self._options.url,
                    min_size=0,
                    max_size=self._options.pool_size,
                    kwargs=_connect_args("jobq"),
                    open=False,
                    name="jobq",
                    configure=partial(_configure_async, self._options),
                    reconnect_timeout=self._options.patience,
                )
                await pool.open()
                self._pool = pool
        if not self._checked:
            self._checked = True
            try:
                _migrations.check(*await self.run(_migrations.installed))
            except BaseException:
                self._checked = False
                raise
        return self._pool

    async def migrate(self) -> list[int]:
        self._checked = True
        return await self.run(_migrations.migrate)  # type: ignore[no-any-return]

    def notifies_now(self, queue: str) -> bool:
        """Whether the caller's statement should carry the NOTIFY."""
        return self._hints.leads(queue)

    def notified(self, queue: str) -> None:
        """A statement that carried the NOTIFY was committed."""
        self._hints.sent(queue)

    def notify(self, queue: str) -> None:
        """See that workers are told, a moment from now."""
        if self._hints.trails(queue):
            self._trail = asyncio.ensure_future(self._send_later())

    async def _send_later(self) -> None:
        try:
            await asyncio.sleep(TRAIL)
        finally:  # also where the loop is ending, as asyncio.run does it
            await self._send()

    async def _send(self) -> None:
        queues = self._hints.take()
        if queues:
            try:
                await self.run(_notify, queues)
            except BackendError:
                logger.warning("could not NOTIFY; workers will find the jobs by polling")

    async def aclose(self) -> None:
        pool = self._pool
        if pool is not None:
            if self._trail is not None and not self._trail.done():
                self._trail.cancel()
            await self._send()
            self._pool = None
            await pool.close(timeout=1.0)


class PostgresBackend:
    """A PostgreSQL database."""

    name = "postgresql"
    needs_migrate = True
    joins_claims = False

    def __init__(self, url: str, clock: Any, **options: Any) -> None:
        self.options = parse(url, **options)
        self.url = url
        self.dialect = PostgresDialect(clock)
        self.identity = f"postgresql:{self.options.url}"

    def store(self) -> PostgresStore:
        return PostgresStore(self.options, self.dialect)

    def async_store(self) -> AsyncPostgresStore:
        return AsyncPostgresStore(self.options, self.dialect)

    def script(self, since: int = 0) -> str:
        return _migrations.script(self.dialect, since=since)

    fallback_poll = 1.0

    async def watch(
        self, store: AsyncPostgresStore, hint: Callable[[], None], idle: Callable[[], float]
    ) -> None:
        """Call `hint` at each NOTIFY, and whenever one might have been missed.

        Until a ping of our own has come back the channel is not trusted: a transaction pooler
        accepts LISTEN and then hears nothing.
        """
        del store, idle
        while True:
            try:
                await self._listen(hint)
            except psycopg.Error as error:
                logger.warning("LISTEN was interrupted, polling until it is back: %s", error)
            self.fallback_poll = 1.0
            hint()
            await asyncio.sleep(1.0)

    async def _listen(self, hint: Callable[[], None]) -> None:
        url = self.options.listen_url or self.options.url
        ping = f"{CHANNEL}_{token_hex(8)}"
        connection = await psycopg.AsyncConnection.connect(url, **_connect_args("jobq listen"))
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
            await connection.execute(f"LISTEN {ping}")
            while True:
                await connection.execute(f"NOTIFY {ping}")
                self.fallback_poll = 5.0 if await self._hear(connection, ping, hint) else 1.0
        finally:
            await connection.close()

    async def _hear(
        self, connection: psycopg.AsyncConnection[Any], ping: str, hint: Callable[[], None]
    ) -> bool:
        """Pass hints on for half a minute; whether our own ping was among them."""
        heard = False
        async for note in connection.notifies(timeout=2.0):
            if note.channel == ping:
                heard = True
                self.fallback_poll = 5.0
            hint()
            if heard:
                break
        if not heard:
            logger.warning(
                "LISTEN hears nothing here (a transaction pooler?): polling each second instead; "
                "give Queue(listen_url=…) an address that reaches PostgreSQL itself"
            )
            await asyncio.sleep(28.0)
            return False
        async for _note in connection.notifies(timeout=30.0):
            hint()
        return True
