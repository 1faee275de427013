"""Load many new jobs at once: `executemany` on SQLite, COPY on PostgreSQL.

Neither can compute, so what the single INSERT leaves to the database is filled in here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from jobq.backends.ops.insert import ALWAYS, SOMETIMES, NewRow, Terms

_APART = {"run_at", "unique_key", "batch_id"}
SHARED = tuple(name for name in (*ALWAYS, *SOMETIMES) if name not in _APART)
"""What can be loaded as it is."""
COPY = (
    f"COPY jobq_job (id, payload, {', '.join(SHARED)}, run_at, ready, created_at, updated_at) "
    f"FROM STDIN"
)
BLOCK = 1000
"""How many rows travel in one piece of a COPY."""
_shared = attrgetter(*SHARED)


def _start(terms: Terms, now: int) -> tuple[int, int]:
    """When a job may run, and whether that is now."""
    run_at = terms.start(now)
    return run_at, 1 if terms.declared and run_at <= now else 0


def insertion(rows: Sequence[NewRow], now: int) -> tuple[str, Iterator[tuple[Any, ...]]]:
    """An INSERT and its parameters for each row: instants in microseconds, flags as 0 and 1."""
    kinds = {row.terms for row in rows}
    names = [name for name in SHARED if set(map(attrgetter(name), kinds)) != {None}]
    columns = ("id", "payload", *names, "run_at", "ready", "created_at", "updated_at")
    places = ", ".join("?" * len(columns))
    insert = f"INSERT INTO jobq_job ({', '.join(columns)}) VALUES ({places})"  # noqa: S608
    given = attrgetter(*names)
    rest = {terms: (*given(terms), *_start(terms, now), now, now) for terms in kinds}
    return insert, ((row.id, row.payload, *rest[row.terms]) for row in rows)


def copy_blocks(rows: Sequence[NewRow], now: int) -> Iterator[str]:
    """For `COPY`, in its text format: some rows at a time."""
    rest = {
        terms: _copy_terms(_shared(terms), *_start(terms, now), now)
        for terms in {row.terms for row in rows}
    }
    for first in range(0, len(rows), BLOCK):
        some = rows[first : first + BLOCK]
        yield "".join(f"{row.id}\t{_copy_json(row.payload)}\t{rest[row.terms]}" for row in some)


def _copy_json(text: str) -> str:
    return text.replace("\\", "\\\\")  # JSON has no other character that COPY minds


@lru_cache(maxsize=64)
def _copy_terms(shared: tuple[Any, ...], run_at: int, ready: int, now: int) -> str:
    """All columns but id and payload. Rows mostly say the same, hence the cache."""
    values = dict(zip(SHARED, shared, strict=True))
    values["declared"] = _flag(values["declared"])
    if values["expires_at"] is not None:
        values["expires_at"] = _stamp(values["expires_at"])
    created = _stamp(now)
    columns = (*values.values(), _stamp(run_at), _flag(ready), created, created)
    return "\t".join(map(_escape, columns)) + "\n"


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def _escape(value: str | int | None) -> str:
    return "\\N" if value is None else str(value).translate(_ESCAPES)


def _flag(value: int) -> str:
    return "t" if value else "f"


def _stamp(instant: int) -> str:
    seconds, microseconds = divmod(instant, 1_000_000)
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    return f"{clock}.{microseconds:06d}+00"
