"""How connections are made, prepared and given up on."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg

from jobq._masking import mask
from jobq.backends._dialect import PostgresDialect
from jobq.backends._options import PostgresOptions
from jobq.backends._statement import Call, Op


def connect_args(name: str) -> dict[str, Any]:
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


def cancellations() -> int:
    """How often this task was cancelled.

    The pool waits with `asyncio.wait_for`, which before Python 3.12 loses a cancellation that
    comes together with what it waits for.
    """
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def why_no_connection(options: PostgresOptions) -> str:
    """The reason that a pool does not tell: a refusal, a wrong password, or all are in use."""
    try:
        psycopg.connect(options.url, connect_timeout=2).close()
    except psycopg.Error as error:
        return mask(str(error).strip())
    return f"all {options.pool_size} of the pool are in use"


def is_pooled(info: psycopg.ConnectionInfo, pid: int) -> bool:
    """Whether the server that answers is another than the one we connected to."""
    return info.backend_pid != pid


def configure(options: PostgresOptions, connection: psycopg.Connection[Any]) -> None:
    if options.prepare is None:
        row = connection.execute(_PID).fetchone()
        if row and is_pooled(connection.info, row[0]):
            connection.prepare_threshold = None


async def configure_async(
    options: PostgresOptions, connection: psycopg.AsyncConnection[Any]
) -> None:
    if options.prepare is None:
        row = await (await connection.execute(_PID)).fetchone()
        if row and is_pooled(connection.info, row[0]):
            connection.prepare_threshold = None


_PID = "SELECT pg_backend_pid()"


def prepares(call: Call, options: PostgresOptions) -> bool:
    return options.prepare is not False and not call.replan


def rest_before(deadline: float, tries: int) -> float | None:
    """Seconds to rest before the next try, or `None` to give up."""
    if tries == 0 and time.monotonic() < deadline:
        return 0.0  # a pooled connection that died while idle
    rest = min(0.05 * 2**tries, 1.0)
    return rest if time.monotonic() + rest < deadline else None


def clock(d: PostgresDialect) -> Op[int]:
    """The time in microseconds: the server's, unless ours is frozen."""
    frozen_at = d.current()
    if frozen_at is not None:
        return frozen_at
    rows = yield Call("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", {})
    return rows[0][0]  # type: ignore[no-any-return]
