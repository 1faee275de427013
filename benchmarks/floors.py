"""What the bare drivers reach on a bare table: the floors that ratios refer to.

One table (id, status, priority, run_at, payload, result) with one partial index. PostgreSQL by
psycopg, prepared, one connection, one commit for each statement; SQLite by sqlite3 and aiosqlite
in WAL mode with synchronous=FULL. Bulk loads start from the same Python payloads as jobq's, so the
floor's time has the making of ids and JSON text in it.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
import uuid
from pathlib import Path

import aiosqlite
import psycopg

PAYLOAD = '{"n": 1}'
BATCH = 100


class PostgresFloor:
    """psycopg on a bare table."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._conn = psycopg.connect(url, autocommit=True)
        self._conn.execute("DROP TABLE IF EXISTS bare")
        self._conn.execute(
            "CREATE TABLE bare (id uuid PRIMARY KEY, status text NOT NULL, "
            "priority int NOT NULL, run_at timestamptz NOT NULL DEFAULT now(), "
            "payload json NOT NULL, result json)"
        )
        self._conn.execute(
            "CREATE INDEX ON bare (priority DESC, run_at, id) WHERE status = 'pending'"
        )

    def close(self) -> None:
        self._conn.close()

    _INSERT = (
        "INSERT INTO bare (id, status, priority, payload) "
        "VALUES (%s::uuid, 'pending', 0, %s::json) RETURNING run_at"
    )

    def enqueue(self, count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            values = (str(uuid.uuid4()), PAYLOAD)
            self._conn.execute(self._INSERT, values, prepare=True).fetchone()
        return count / (time.perf_counter() - started)

    def enqueue_async(self, count: int) -> float:
        async def run() -> float:
            conn = await psycopg.AsyncConnection.connect(self.url, autocommit=True)
            started = time.perf_counter()
            for _ in range(count):
                values = (str(uuid.uuid4()), PAYLOAD)
                cursor = await conn.execute(self._INSERT, values, prepare=True)
                await cursor.fetchone()
            rate = count / (time.perf_counter() - started)
            await conn.close()
            return rate

        return asyncio.run(run())

    def enqueue_many(self, count: int) -> float:
        items = [{"n": 1}] * count
        started = time.perf_counter()
        rows = [(str(uuid.uuid4()), "pending", 0, json.dumps(item)) for item in items]
        with self._conn.cursor().copy("COPY bare (id, status, priority, payload) FROM STDIN") as c:
            for row in rows:
                c.write_row(row)
        return count / (time.perf_counter() - started)

    def drain(self, count: int) -> float:
        self._conn.execute("TRUNCATE bare")
        self.enqueue_many(count)
        claim = (
            "UPDATE bare SET status = 'processing' WHERE id = ANY(ARRAY(SELECT id FROM bare "
            "WHERE status = 'pending' ORDER BY priority DESC, run_at, id "
            f"LIMIT {BATCH} FOR UPDATE SKIP LOCKED)) RETURNING id, payload"
        )
        finish = "UPDATE bare SET status = 'completed', result = 'null' WHERE id = ANY(%s)"
        started = time.perf_counter()
        while rows := self._conn.execute(claim, prepare=True).fetchall():
            self._conn.execute(finish, ([row[0] for row in rows],), prepare=True)
        return count / (time.perf_counter() - started)


class SqliteFloor:
    """sqlite3 and aiosqlite on a bare table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._conn = sqlite3.connect(path, isolation_level=None)
        self._conn.execute("PRAGMA journal_mode = WAL")
        self._conn.execute("PRAGMA synchronous = FULL")
        self._conn.execute(
            "CREATE TABLE bare (id TEXT PRIMARY KEY, status TEXT NOT NULL, priority INT NOT NULL, "
            "run_at INT NOT NULL, payload TEXT NOT NULL, result TEXT)"
        )
        self._conn.execute(
            "CREATE INDEX bare_pending ON bare (priority DESC, run_at, id) WHERE status = 'pending'"
        )

    def close(self) -> None:
        self._conn.close()

    _INSERT = (
        "INSERT INTO bare (id, status, priority, run_at, payload) "
        "VALUES (?, 'pending', 0, ?, ?) RETURNING run_at"
    )

    def enqueue(self, count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            values = (str(uuid.uuid4()), time.time_ns() // 1000, PAYLOAD)
            self._conn.execute(self._INSERT, values).fetchall()
        return count / (time.perf_counter() - started)

    def enqueue_async(self, count: int) -> float:
        async def run() -> float:
            conn = await aiosqlite.connect(self.path, isolation_level=None)
            await conn.execute("PRAGMA synchronous = FULL")
            started = time.perf_counter()
            for _ in range(count):
                values = (str(uuid.uuid4()), time.time_ns() // 1000, PAYLOAD)
                await conn.execute_fetchall(self._INSERT, values)
            rate = count / (time.perf_counter() - started)
            await conn.close()
            return rate

        return asyncio.run(run())

    def enqueue_many(self, count: int) -> float:
        items = [{"n": 1}] * count
        insert = "INSERT INTO bare (id, status, priority, run_at, payload) "
        started = time.perf_counter()
        now = time.time_ns() // 1000
        rows = [(str(uuid.uuid4()), now, json.dumps(item)) for item in items]
        self._conn.execute("BEGIN IMMEDIATE")
        self._conn.executemany(insert + "VALUES (?, 'pending', 0, ?, ?)", rows)
        self._conn.execute("COMMIT")
        return count / (time.perf_counter() - started)

    def drain(self, count: int) -> float:
        self._conn.execute("DELETE FROM bare")
        self.enqueue_many(count)
        claim = (
            "UPDATE bare SET status = 'processing' WHERE id IN (SELECT id FROM bare "
            "WHERE status = 'pending' ORDER BY priority DESC, run_at, id "
            f"LIMIT {BATCH}) RETURNING id, payload"
        )
        finish = "UPDATE bare SET status = 'completed', result = 'null' WHERE id = ?"
        started = time.perf_counter()
        while rows := self._conn.execute(claim).fetchall():
            self._conn.execute("BEGIN IMMEDIATE")
            self._conn.executemany(finish, [(row[0],) for row in rows])
            self._conn.execute("COMMIT")
        return count / (time.perf_counter() - started)
