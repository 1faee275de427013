"""How the database itself is doing: its size, what is dead in it, and who holds that there."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from jobq._model import instant
from jobq.backends._dialect import Dialect
from jobq.backends._log import log_size
from jobq.backends._statement import Call, Op, reading


@frozen(kw_only=True)
class TableHealth:
    """A table of jobq's: PostgreSQL's own estimates, and when it was last cleared of what died."""

    name: str
    rows: int
    dead: int
    bytes: int
    """With its indexes."""
    vacuumed_at: datetime | None
    analyzed_at: datetime | None


@frozen(kw_only=True)
class DatabaseHealth:
    """How a database is doing, with what only PostgreSQL has, or only SQLite."""

    version: str
    bytes: int
    tables: tuple[TableHealth, ...] = ()
    connections: int = 0
    max_connections: int | None = None
    held_seconds: int = 0
    """For how long the transaction has been open that has been so for longest."""
    held_by: str | None = None
    sees_others: bool = True
    """Whether it would have been told of the transactions of other users."""
    journal_mode: str | None = None
    log_bytes: int = 0
    free_bytes: int = 0
    """Inside of the file, for what comes next."""


_FILE = """
    SELECT sqlite_version(), pages.page_count * size.page_size,
           free.freelist_count * size.page_size, mode.journal_mode, coalesce(main.file, '')
    FROM pragma_page_count AS pages, pragma_page_size AS size, pragma_freelist_count AS free,
         pragma_journal_mode AS mode, pragma_database_list AS main
    WHERE main.name = 'main'
"""
_SERVER = """
    SELECT current_setting('server_version'), pg_database_size(current_database()),
           (SELECT sum(numbackends) FROM pg_stat_database)::bigint,
           current_setting('max_connections')::bigint,
           pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')::int
"""
_TABLES = """
    SELECT relname::text, n_live_tup, n_dead_tup, pg_total_relation_size(relid),
           (extract(epoch FROM greatest(last_vacuum, last_autovacuum)) * 1000000)::bigint,
           (extract(epoch FROM greatest(last_analyze, last_autoanalyze)) * 1000000)::bigint
    FROM pg_stat_user_tables
    WHERE starts_with(relname, 'jobq_') AND pg_table_is_visible(relid)
    ORDER BY 4 DESC, 1
"""
# Without the rights of pg_read_all_stats, sessions of other users show neither of the two. A
# session that has written and is idle has the latter only. VACUUM itself is in nobody's way.
_HOLDERS = """
    SELECT extract(epoch FROM clock_timestamp() - begun)::bigint AS seconds, who
    FROM (
        SELECT xact_start, format('session %%s of %%s (%%s), %%s', pid,
                                  coalesce(usename, 'the server'),
                                  coalesce(nullif(application_name, ''), 'no name'),
                                  coalesce(state, backend_type))
        FROM pg_stat_activity
        WHERE datname = current_database()
          AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
          AND pid <> pg_backend_pid()
          AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
        UNION ALL
        SELECT prepared, format('prepared transaction %%s of %%s', gid, owner)
        FROM pg_prepared_xacts WHERE database = current_database()
    ) AS holders(begun, who)
    WHERE begun < clock_timestamp() - %(seconds)s * interval '1 second'
    ORDER BY begun LIMIT 1
"""


@reading
def oldest_snapshot(_: Dialect, *, seconds: float) -> Op[str | None]:
    """Who has held a snapshot on PostgreSQL for longer than that, as a sentence's end.

    While one is held, nothing that has died since can be cleared away.
    """
    for held, who in (yield Call(_HOLDERS, {"seconds": seconds})):
        return f"a transaction has been open for {held} s ({who})"
    return None


@reading
def database_health(d: Dialect) -> Op[DatabaseHealth]:
    """What the database says of itself, without walking any table."""
    return (yield from (_of_postgres() if d.name == "postgresql" else _of_sqlite()))


def _of_sqlite() -> Op[DatabaseHealth]:
    [(version, size, free, mode, file)] = yield Call(_FILE, {})
    return DatabaseHealth(
        version=f"SQLite {version}",
        bytes=size,
        journal_mode=mode,
        log_bytes=log_size(file) if file else 0,
        free_bytes=free,
    )


def _of_postgres() -> Op[DatabaseHealth]:
    [(version, size, connections, most, sees_others)] = yield Call(_SERVER, {})
    tables = yield Call(_TABLES, {})
    holders = yield Call(_HOLDERS, {"seconds": 1})
    seconds, who = holders[0] if holders else (0, None)
    return DatabaseHealth(
        version=f"PostgreSQL {version}",
        bytes=size,
        tables=tuple(
            TableHealth(
                name=name,
                rows=rows,
                dead=dead,
                bytes=bytes_,
                vacuumed_at=instant(vacuumed),
                analyzed_at=instant(analyzed),
            )
            for name, rows, dead, bytes_, vacuumed, analyzed in tables
        ),
        connections=connections,
        max_connections=most,
        held_seconds=seconds,
        held_by=who,
        sees_others=bool(sees_others),
    )
