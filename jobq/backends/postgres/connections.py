"""How connections are made, prepared and given up on.

A call on a connection that was frozen, by a cut cable or a vanished host, would wait for ever. So
every wait for the server has an end here: the connection is closed then, and its caller is freed.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Generator, Iterator
from typing import Any, Self, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from jobq.backends._options import PostgresOptions
from jobq.backends._statement import Call
from jobq.backends.postgres.attempts import Attempts
from jobq.backends.postgres.plans import ANEW, AS_USUAL, KEPT, Plans, may_prepare

T = TypeVar("T")
CANCEL_WITHIN = 1.0
"""Seconds that a cancelled call waits for the server to agree, before its connection is closed."""
SPARES = 4
"""How many cursors a connection keeps."""
LOOK_AGAIN = 0.5
"""About how often a pool that has no connection tries to make one, in seconds."""


class Patience:
    """How long a connection waits for each answer; what both kinds of connection share."""

    pgconn: Any
    cursor: Any
    bound: float | None = None
    """Seconds; `None` is for ever."""
    silent = False
    """Whether an answer did not come in time, and the connection was closed."""
    made_at = 0.0
    plans: Plans = AS_USUAL
    """How it was told to plan what is prepared on it."""
    _until = math.inf

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._spares: dict[str, Any] = {}
        """Cursors by the statement that they had, the one used last at the end."""

    def take_cursor(self, sql: str) -> Any:
        """The cursor that had this statement before, or a new one.

        psycopg keeps how parameters and columns are converted as long as a cursor gets the same
        statement again: finding that out takes longer than a small one takes to send.
        """
        return self._spares.pop(sql, None) or self.cursor()

    def leave_cursor(self, sql: str, cursor: Any) -> None:
        """Keep it for the next time, unless it still holds what many rows were."""
        if cursor.rowcount > 1:
            return
        self._spares[sql] = cursor
        if len(self._spares) > SPARES:
            del self._spares[next(iter(self._spares))]

    def _bounded(self, waiting: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Give up in time. Drivers look in ten times a second, also while nothing comes."""
        self._until = math.inf if self.bound is None else time.monotonic() + self.bound
        try:
            state = next(waiting)
            while True:
                ready = yield state
                if time.monotonic() > self._until:
                    raise self._given_up()
                state = waiting.send(ready)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _hurry(self) -> None:
        self._until = min(self._until, time.monotonic() + CANCEL_WITHIN)

    def _given_up(self) -> psycopg.OperationalError:
        self.silent = True
        self.pgconn.finish()
        if self.bound is None:
            return psycopg.OperationalError("no answer to a cancellation; the connection is closed")
        return psycopg.OperationalError(
            f"no answer within {self.bound:g} s; the connection is closed"
        )


class Connection(Patience, psycopg.Connection[Any]):
    """A connection whose calls end in time."""

    @classmethod
    def connect(  # type: ignore[override]
        cls, conninfo: str = "", *, attempts: Attempts | None = None, **kwargs: Any
    ) -> Self:
        with (attempts or Attempts()).noted():
            return super().connect(conninfo, **kwargs)

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("timeout") is None:
            gen = self._bounded(gen)
        return super().wait(gen, *args, **kwargs)

    def cancel_safe(self, *, timeout: float = 30.0) -> None:
        self._hurry()
        super().cancel_safe(timeout=min(timeout, CANCEL_WITHIN))


class AsyncConnection(Patience, psycopg.AsyncConnection[Any]):
    """A connection whose calls end in time."""

    @classmethod
    async def connect(  # type: ignore[override]
        cls, conninfo: str = "", *, attempts: Attempts | None = None, **kwargs: Any
    ) -> Self:
        with (attempts or Attempts()).noted():
            return await super().connect(conninfo, **kwargs)

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("timeout") is None:  # else it has a bound already, as notifies() has
            gen = self._bounded(gen)
        return await super().wait(gen, *args, **kwargs)

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109  psycopg's
        self._hurry()
        await super().cancel_safe(timeout=min(timeout, CANCEL_WITHIN))


def connect_args(name: str, options: PostgresOptions) -> dict[str, Any]:
    bound = options.statement_timeout
    return {
        "autocommit": True,
        "application_name": name,
        "connect_timeout": max(2, min(5, math.ceil(options.patience))),  # 2 is libpq's least
        # A peer that vanished without a word is noticed by the kernel.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000 if bound is None else round(bound * 1000),
    }


def pool_args(options: PostgresOptions, attempts: Attempts) -> dict[str, Any]:
    """What the pools of both faces are given."""
    return {
        "min_size": 0,
        "max_size": options.pool_size,
        "kwargs": connect_args("jobq", options) | {"attempts": attempts},
        "name": "jobq",
        "reconnect_timeout": LOOK_AGAIN,
    }


def cancellations() -> int:
    """How often this task was cancelled.

    The pool waits with `asyncio.wait_for`, which before Python 3.12 loses a cancellation that
    comes together with what it waits for.
    """
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def configure(options: PostgresOptions, connection: Connection, plans: Plans) -> None:
    """Prepare a new connection for use."""
    connection.made_at = time.monotonic()
    connection.bound = options.statement_timeout
    words = _first_words(options, connection.info.backend_pid, plans)
    _heed(options, connection, plans, connection.execute(*words).fetchone())


async def configure_async(
    options: PostgresOptions, connection: AsyncConnection, plans: Plans
) -> None:
    """Prepare a new connection for use."""
    connection.made_at = time.monotonic()
    connection.bound = options.statement_timeout
    words = _first_words(options, connection.info.backend_pid, plans)
    cursor = await connection.execute(*words)
    _heed(options, connection, plans, await cursor.fetchone())


def _first_words(options: PostgresOptions, pid: int, plans: Plans) -> tuple[str, dict[str, Any]]:
    """Ask who answers, and have the server end by itself what we shall not wait for.

    A little earlier than here, so that what is only slow keeps its connection. Transactions whose
    client has gone would hold their locks. Behind a transaction pooler, whose sessions others use
    as well, and where somebody has chosen such bounds, nothing is set.
    """
    bound = options.statement_timeout
    server_bound = 0 if bound is None else max(1, round(bound * 900))
    return _FIRST_WORDS[plans], {"pid": pid, "bound": f"{server_bound}ms"}


_BOUNDS = ("statement_timeout", "idle_in_transaction_session_timeout")


def _sets(name: str, usual: str, wanted: str) -> str:
    return (
        "CASE WHEN pg_backend_pid() = %(pid)s"
        f" AND current_setting('{name}') IN ('{usual}', {wanted})"
        f" THEN set_config('{name}', {wanted}, false) END"
    )


def _settings(plans: Plans) -> Iterator[str]:
    for name in _BOUNDS:
        yield _sets(name, "0", "%(bound)s")
    for name, usual, wanted in plans:
        yield _sets(name, usual, f"'{wanted}'")


_FIRST_WORDS = {
    plans: f"SELECT pg_backend_pid(), {', '.join(_settings(plans))}"
    for plans in (AS_USUAL, ANEW, KEPT)
}


def _heed(
    options: PostgresOptions, connection: Connection | AsyncConnection, plans: Plans, row: Any
) -> None:
    """Prepare no statements where the server that answers is another than we connected to."""
    pid, heeded = row[0], row[1 + len(_BOUNDS) :]
    connection.plans = AS_USUAL if None in heeded else plans
    if options.prepare is None and pid != connection.info.backend_pid:
        connection.prepare_threshold = None


def prepares(
    call: Call, options: PostgresOptions, connection: Connection | AsyncConnection
) -> bool:
    return options.prepare is not False and may_prepare(call, connection.plans)


def rest_before(deadline: float, tries: int) -> float | None:
    """Seconds to rest before the next try, or `None` to give up."""
    if tries == 0 and time.monotonic() < deadline:
        return 0.0  # a pooled connection that died while idle
    rest = min(0.05 * 2**tries, 1.0) * random.uniform(0.5, 1.0)
    return rest if time.monotonic() + rest < deadline else None


def slice_of(deadline: float) -> float:
    """For how long to ask a pool for a connection, before it is asked anew."""
    return min(2 * LOOK_AGAIN * random.uniform(0.7, 1.3), max(0.01, deadline - time.monotonic()))


def unbounded() -> str:
    """For a transaction whose statement may last: each of its parts is waited for by itself."""
    return "SET LOCAL statement_timeout = 0"


def is_reusable(connection: Connection | AsyncConnection) -> bool:
    """Whether the next call may have a connection that the last one used."""
    return connection.info.transaction_status == TransactionStatus.IDLE


def returns_rows(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> bool:
    """Whether a statement has rows to fetch. `description` would describe each column for it."""
    result = cursor.pgresult
    return result is not None and result.nfields > 0
