"""Snapshots that are held for long: while one is, nothing that has died can be cleared away."""

from __future__ import annotations

from jobq.backends._dialect import Dialect
from jobq.backends._statement import Call, Op, reading

# Without the rights of pg_read_all_stats, sessions of other users show no backend_xmin.
_HOLDERS = """
    SELECT extract(epoch FROM clock_timestamp() - begun)::bigint AS seconds, who
    FROM (
        SELECT xact_start, format('session %%s of %%s (%%s), %%s', pid, usename,
                                  coalesce(nullif(application_name, ''), 'no name'), state)
        FROM pg_stat_activity
        WHERE datname = current_database() AND backend_xmin IS NOT NULL
        UNION ALL
        SELECT prepared, format('prepared transaction %%s of %%s', gid, owner)
        FROM pg_prepared_xacts WHERE database = current_database()
    ) AS holders(begun, who)
    WHERE begun < clock_timestamp() - %(seconds)s * interval '1 second'
    ORDER BY begun LIMIT 1
"""


@reading
def oldest_snapshot(_: Dialect, *, seconds: float) -> Op[str | None]:
    """Who has held a snapshot for longer than that, as a sentence's end."""
    for held, who in (yield Call(_HOLDERS, {"seconds": seconds})):
        return f"a transaction has been open for {held} s ({who})"
    return None
