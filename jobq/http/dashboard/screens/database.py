"""The database: how large it is, what is dead in it, and what keeps that there."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from jobq.backends._alarms import HELD_TOO_LONG, LONG_LOG
from jobq.backends.ops import DatabaseHealth, TableHealth
from jobq.http.dashboard import verbs
from jobq.http.dashboard.formats import count, size, span
from jobq.http.dashboard.visit import Visit
from jobq.http.steps import Ask, Operation

MANY_DEAD = 10_000
NEARLY_ALL = 0.8
SMALL = 100_000
"""Bytes below which a table is not listed."""


def database(visit: Visit) -> Operation:
    operator = yield from visit.admit()
    health: DatabaseHealth = yield Ask(verbs.database)
    return visit.page(
        operator,
        health=health,
        concerns=[*concerns(health)],
        tables=[table for table in health.tables if table.bytes >= SMALL],
        small=[table.bytes for table in health.tables if table.bytes < SMALL],
        has_many=has_many,
    )


def has_many(table: TableHealth) -> bool:
    """Whether more of a table is dead than alive, and not just because it is small."""
    return table.dead > max(MANY_DEAD, table.rows)


def concerns(health: DatabaseHealth) -> Iterator[str]:
    """What is not as it should be, and what can be done about it."""
    if health.held_seconds >= HELD_TOO_LONG:
        yield (
            f"A transaction has been open for {span(health.held_seconds)} ({health.held_by}). "
            "Until it ends nothing that has died since can be cleared away, and claims slow down. "
            "End it, or set idle_in_transaction_session_timeout for such sessions."
        )
    for table in filter(has_many, health.tables):
        yield (
            f"{table.name} has {count(table.dead)} dead rows and {count(table.rows)} living ones: "
            "autovacuum does not keep up. Let it begin earlier on this table, by a smaller "
            "autovacuum_vacuum_scale_factor, unless an open transaction is in its way."
        )
    if health.connections >= NEARLY_ALL * (health.max_connections or inf):
        yield (
            f"{health.connections} of {health.max_connections} connections are taken. Give "
            "processes smaller pools, or put a pooler between."
        )
    if health.log_bytes > LONG_LOG:
        yield (
            f"The write-ahead log is {size(health.log_bytes)}. If it grows on, some connection "
            "reads without an end, and the log cannot be used again from its start; if it does "
            "not, one large transaction has made it so, and PRAGMA journal_size_limit lets it "
            "shrink again."
        )
