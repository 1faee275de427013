"""What the bare drivers reach on a bare table: the floors that ratios refer to.

One table (id, status, priority, run_at, payload, result) with one partial index. PostgreSQL by
psycopg, prepared, one connection, one commit for each statement; SQLite by sqlite3 and aiosqlite
in WAL mode with synchronous=FULL. Bulk loads start from the same Python payloads as jobq's, so the
floor's time has the making of ids and JSON text in it.
"""

from benchmarks.database import Database
from benchmarks.floors.postgres import PostgresFloor
from benchmarks.floors.sqlite import SqliteFloor


def floor(database: Database) -> PostgresFloor | SqliteFloor:
    """The floor of a database."""
    return SqliteFloor(database) if database.server is None else PostgresFloor(database)


__all__ = ["PostgresFloor", "SqliteFloor", "floor"]
