"""sqlite3 and aiosqlite on a bare table."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
import uuid
from typing import Any

import aiosqlite

from benchmarks.database import Database, metered
from benchmarks.floors.postgres import BATCH, PAYLOAD
from benchmarks.several import seconds_of

INSERT = (
    "INSERT INTO bare (id, status, priority, run_at, payload) "
    "VALUES (?, 'pending', 0, ?, ?) RETURNING run_at"
)
CLAIM = (
    "UPDATE bare SET status = 'processing' WHERE id IN (SELECT id FROM bare "
    "WHERE status = 'pending' ORDER BY priority DESC, run_at, id "
    f"LIMIT {BATCH}) RETURNING id, payload"
)
FINISH = "UPDATE bare SET status = 'completed', result = 'null' WHERE id = ?"


class SqliteFloor:
    """The floor on SQLite."""

    insert_async_name = "aiosqlite"
    insert_name = "sqlite3"
    bulk_name = "executemany"
    drain_name = "sqlite3, claim 100 and finish 100"

    def __init__(self, database: Database) -> None:
        self._database = database
        self.path = database.path
        self._conn = connect(self.path)
        self._conn.execute(
            "CREATE TABLE bare (id TEXT PRIMARY KEY, status TEXT NOT NULL, priority INT NOT NULL, "
            "run_at INT NOT NULL, payload TEXT NOT NULL, result TEXT)"
        )
        self._conn.execute(
            "CREATE INDEX bare_pending ON bare (priority DESC, run_at, id) WHERE status = 'pending'"
        )

    def close(self) -> None:
        self._conn.close()

    def clear(self) -> None:
        self._conn.execute("DELETE FROM bare")

    def enqueue(self, count: int) -> float:
        payload = json.dumps(PAYLOAD)
        started = time.perf_counter()
        for _ in range(count):
            values = (str(uuid.uuid4()), time.time_ns() // 1000, payload)
            self._conn.execute(INSERT, values).fetchall()
        return count / (time.perf_counter() - started)

    def enqueue_async(self, count: int) -> float:
        async def run() -> float:
            conn = await aiosqlite.connect(self.path, isolation_level=None)
            await conn.execute("PRAGMA synchronous = FULL")
            payload = json.dumps(PAYLOAD)
            started = time.perf_counter()
            for _ in range(count):
                values = (str(uuid.uuid4()), time.time_ns() // 1000, payload)
                await conn.execute_fetchall(INSERT, values)
            rate = count / (time.perf_counter() - started)
            await conn.close()
            return rate

        return asyncio.run(run())

    def enqueue_many(self, count: int, payload: Any = PAYLOAD) -> float:
        items = [payload] * count
        insert = "INSERT INTO bare (id, status, priority, run_at, payload) "
        started = time.perf_counter()
        now = time.time_ns() // 1000
        rows = [(str(uuid.uuid4()), now, json.dumps(item)) for item in items]
        self._conn.execute("BEGIN IMMEDIATE")
        self._conn.executemany(insert + "VALUES (?, 'pending', 0, ?, ?)", rows)
        self._conn.execute("COMMIT")
        return count / (time.perf_counter() - started)

    def drain(
        self, count: int, payload: Any = PAYLOAD, timed: int | None = None
    ) -> dict[str, float]:
        """Drain so many jobs, or the first `timed` of them."""
        self.clear()
        self.enqueue_many(count, payload)
        self._database.settle()
        jobs = timed or count

        def work() -> float:
            started = time.perf_counter()
            drain(self._conn, jobs)
            return jobs / (time.perf_counter() - started)

        return metered(self._database, work, jobs)

    def drain_by(self, processes: int, count: int) -> dict[str, float]:
        """The same by several processes."""
        self.clear()
        self.enqueue_many(count)
        self._database.settle()
        return {"jobs/s": count / seconds_of(self._database.url, processes)}


def connect(path: Any) -> sqlite3.Connection:
    conn = sqlite3.connect(path, isolation_level=None, timeout=60)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    return conn


def drain(conn: sqlite3.Connection, most: int | None = None) -> None:
    done = 0
    while rows := conn.execute(CLAIM).fetchall():
        conn.execute("BEGIN IMMEDIATE")
        conn.executemany(FINISH, [(row[0],) for row in rows])
        conn.execute("COMMIT")
        done += len(rows)
        if most is not None and done >= most:
            return
