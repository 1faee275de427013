"""psycopg on a bare table."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import psycopg

from benchmarks.database import Database, metered
from benchmarks.several import seconds_of

PAYLOAD = {"n": 1}
BATCH = 100
INSERT = (
    "INSERT INTO bare (id, status, priority, payload) "
    "VALUES (%s::uuid, 'pending', 0, %s::json) RETURNING run_at"
)
CLAIM = (
    "UPDATE bare SET status = 'processing' WHERE id = ANY(ARRAY(SELECT id FROM bare "
    "WHERE status = 'pending' ORDER BY priority DESC, run_at, id "
    f"LIMIT {BATCH} FOR UPDATE SKIP LOCKED)) RETURNING id, payload"
)
FINISH = "UPDATE bare SET status = 'completed', result = 'null' WHERE id = ANY(%s)"


class PostgresFloor:
    """The floor on PostgreSQL."""

    insert_async_name = "psycopg async"
    insert_name = "psycopg"
    bulk_name = "COPY"
    drain_name = "psycopg, claim 100 and finish 100"

    def __init__(self, database: Database) -> None:
        self._database = database
        self.url = database.url
        self._conn = psycopg.connect(self.url, autocommit=True)
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

    def clear(self) -> None:
        self._conn.execute("TRUNCATE bare")

    def enqueue(self, count: int) -> float:
        payload = json.dumps(PAYLOAD)
        started = time.perf_counter()
        for _ in range(count):
            self._conn.execute(INSERT, (str(uuid.uuid4()), payload), prepare=True).fetchone()
        return count / (time.perf_counter() - started)

    def enqueue_async(self, count: int) -> float:
        async def run() -> float:
            conn = await psycopg.AsyncConnection.connect(self.url, autocommit=True)
            payload = json.dumps(PAYLOAD)
            started = time.perf_counter()
            for _ in range(count):
                cursor = await conn.execute(INSERT, (str(uuid.uuid4()), payload), prepare=True)
                await cursor.fetchone()
            rate = count / (time.perf_counter() - started)
            await conn.close()
            return rate

        return asyncio.run(run())

    def enqueue_many(self, count: int, payload: Any = PAYLOAD) -> float:
        items = [payload] * count
        started = time.perf_counter()
        rows = [(str(uuid.uuid4()), "pending", 0, json.dumps(item)) for item in items]
        with self._conn.cursor().copy("COPY bare (id, status, priority, payload) FROM STDIN") as c:
            for row in rows:
                c.write_row(row)
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
            rate = jobs / (time.perf_counter() - started)
            self._conn.execute("SELECT pg_stat_force_next_flush()")
            return rate

        return metered(self._database, work, jobs)

    def drain_by(self, processes: int, count: int) -> dict[str, float]:
        """The same by several processes."""
        self.clear()
        self.enqueue_many(count)
        self._database.settle()
        return {"jobs/s": count / seconds_of(self.url, processes)}

    def round_trips(self, count: int) -> list[float]:
        """Milliseconds from a NOTIFY's commit to its arrival at another session, each."""
        return asyncio.run(_round_trips(self.url, count))


def drain(conn: psycopg.Connection[Any], most: int | None = None) -> None:
    done = 0
    while rows := conn.execute(CLAIM, prepare=True).fetchall():
        conn.execute(FINISH, ([row[0] for row in rows],), prepare=True)
        done += len(rows)
        if most is not None and done >= most:
            return


async def _round_trips(url: str, count: int) -> list[float]:
    sender = await psycopg.AsyncConnection.connect(url, autocommit=True)
    hearer = await psycopg.AsyncConnection.connect(url, autocommit=True)
    await hearer.execute("LISTEN bare")

    async def hear() -> list[float]:
        return [time.perf_counter() async for _ in hearer.notifies(stop_after=count)]

    listening = asyncio.create_task(hear())
    sent = []
    for n in range(count):
        await asyncio.sleep(0.05 + 0.01 * (n % 7))
        sent.append(time.perf_counter())
        await sender.execute("SELECT pg_notify('bare', '')")
    heard = await listening
    await sender.close()
    await hearer.close()
    return [(end - begin) * 1000 for begin, end in zip(sent, heard, strict=True)]
