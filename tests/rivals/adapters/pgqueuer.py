"""PgQueuer: run as `pgq run --restart-on-failure --shutdown-on-listener-failure` does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from tests.rivals import job

TITLE = "PgQueuer"
PACKAGES = ("pgqueuer[asyncpg]",)
STORES = ("PostgreSQL",)
SETTINGS = {
    "heartbeat_timeout": "3 s (default 30 s)",
    "dequeue_timeout": "1 s (default 30 s)",
    "shutdown_on_listener_failure": "on (default off; its documentation advises it)",
    "restart_on_failure": "on (default off), restart_delay 1 s (default 5 s)",
}
STATES = {
    "queued": "pending",
    "picked": "running",
    "successful": "completed",
    "exception": "failed",
    "canceled": "cancelled",
}


def work(url: str) -> None:
    import asyncpg
    import pgqueuer
    from pgqueuer.adapters.cli import supervisor
    from pgqueuer.db import AsyncpgDriver

    @asynccontextmanager
    async def make() -> AsyncIterator[Any]:
        connection = await asyncpg.connect(url)
        queuer = pgqueuer.PgQueuer(AsyncpgDriver(connection))

        @queuer.entrypoint("perform")
        async def perform(one: pgqueuer.Job) -> None:
            with job.performed(json.loads(one.payload or b"{}")) as steps:
                for _ in range(steps):
                    await asyncio.sleep(job.STEP)

        try:
            yield queuer
        finally:
            await connection.close()

    asyncio.run(
        supervisor.run(
            make,
            dequeue_timeout=timedelta(seconds=1),
            heartbeat_timeout=timedelta(seconds=3),
            shutdown_on_listener_failure=True,
            restart_on_failure=True,
            restart_delay=timedelta(seconds=1),
        )
    )


class Client:
    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(self._open(url))

    async def _open(self, url: str) -> None:
        import asyncpg
        from pgqueuer.db import AsyncpgPoolDriver
        from pgqueuer.queries import Queries

        pool = await asyncpg.create_pool(url, min_size=1, max_size=2)
        self._queries = Queries(AsyncpgPoolDriver(pool))

    def migrate(self) -> None:
        self._runner.run(self._queries.install())

    def enqueue(self, payload: job.Payload) -> int:
        stored = self._queries.enqueue("perform", json.dumps(payload).encode())
        [id] = self._runner.run(stored)
        return int(id)

    def state(self, id: int) -> str:
        rows = self._runner.run(self._queries.job_status([id]))
        return STATES.get(rows[0][1], rows[0][1]) if rows else "gone"


if __name__ == "__main__":
    job.main(work, Client)
