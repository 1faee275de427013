"""Load many new jobs at once: `executemany` on SQLite, COPY on PostgreSQL.

Neither can compute, so what the single INSERT leaves to the database is filled in here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from jobq.backends.ops.insert import NewRow

COLUMNS = (
    "id",
    "payload",
    "type",
    "queue",
    "declared",
    "ready",
    "priority",
    "run_at",
    "max_attempts",
    "timeout_ms",
    "expires_at",
    "owner",
    "metadata",
    "keep_seconds",
    "given",
    "lane",
    "costs",
    "on_ambiguous",
    "created_at",
    "updated_at",
)
INSERT = f"INSERT INTO jobq_job ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
COPY = f"COPY jobq_job ({', '.join(COLUMNS)}) FROM STDIN"
BLOCK = 1000
"""How many rows travel in one piece of a COPY."""


def _start(row: NewRow, now: int) -> tuple[int, int]:
    """When it may run, and whether that is now."""
    run_at = now + row.delay if row.run_at is None else row.run_at
    return run_at, 1 if row.declared and run_at <= now else 0


def parameters(rows: Sequence[NewRow], now: int) -> Iterator[tuple[Any, ...]]:
    """For `INSERT`: instants in microseconds, flags as 0 and 1."""
    for row in rows:
        run_at, ready = _start(row, now)
        yield (
            row.id,
            row.payload,
            row.type,
            row.queue,
            row.declared,
            ready,
            row.priority,
            run_at,
            row.max_attempts,
            row.timeout_ms,
            row.expires_at,
            row.owner,
            row.metadata,
            row.keep_seconds,
            row.given,
            row.lane,
            row.costs,
            row.on_ambiguous,
            now,
            now,
        )


def copy_blocks(rows: Sequence[NewRow], now: int) -> Iterator[str]:
    """For `COPY`, in its text format: some rows at a time."""
    for first in range(0, len(rows), BLOCK):
        yield "".join(_copy_line(row, now) for row in rows[first : first + BLOCK])


def _copy_line(row: NewRow, now: int) -> str:
    run_at, ready = _start(row, now)
    options = _copy_options(
        row.type,
        row.queue,
        row.declared,
        ready,
        row.priority,
        run_at,
        row.max_attempts,
        row.timeout_ms,
        row.expires_at,
        row.owner,
        row.metadata,
        row.keep_seconds,
        row.given,
        row.lane,
        row.costs,
        row.on_ambiguous,
        now,
    )
    payload = row.payload
    if "\\" in payload:  # JSON has no other character that COPY minds
        payload = payload.replace("\\", "\\\\")
    return f"{row.id}\t{payload}\t{options}"


@lru_cache(maxsize=64)
def _copy_options(  # noqa: PLR0917  one argument a column
    type: str,
    queue: str,
    declared: int,
    ready: int,
    priority: int,
    run_at: int,
    max_attempts: int | None,
    timeout_ms: int | None,
    expires_at: int | None,
    owner: str | None,
    metadata: str | None,
    keep_seconds: int | None,
    given: str | None,
    lane: str | None,
    costs: str | None,
    on_ambiguous: str | None,
    now: int,
) -> str:
    """All columns but id and payload. Neighbours mostly share them, hence the cache."""
    created = _stamp(now)
    columns = (
        _escape(type),
        _escape(queue),
        "t" if declared else "f",
        "t" if ready else "f",
        priority,
        _stamp(run_at),
        max_attempts,
        timeout_ms,
        None if expires_at is None else _stamp(expires_at),
        _escape(owner),
        _escape(metadata),
        keep_seconds,
        given,
        _escape(lane),
        _escape(costs),
        on_ambiguous,
        created,
        created,
    )
    return "\t".join("\\N" if column is None else str(column) for column in columns) + "\n"


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def _escape(value: str | None) -> str | None:
    return None if value is None else value.translate(_ESCAPES)


def _stamp(instant: int) -> str:
    seconds, microseconds = divmod(instant, 1_000_000)
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    return f"{clock}.{microseconds:06d}+00"
