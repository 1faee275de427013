"""SAQ on its PostgreSQL queue: heartbeats by the handler, and a sweep of stuck jobs."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.rivals import job

TITLE = "SAQ"
PACKAGES = ("saq[postgres]", "psycopg[binary]")
STORES = ("PostgreSQL",)
SETTINGS = {
    "Job(heartbeat)": "3 s (default off), with `await job.update()` in the handler each 0.25 s",
    "Job(timeout)": "60 s (default 10 s)",
    "Job(retries)": "5 (default 1: a swept job is aborted)",
    "timers": "sweep 1 s (default 60 s)",
}
STATES = {
    "new": "pending",
    "queued": "pending",
    "active": "running",
    "aborting": "running",
    "complete": "completed",
    "aborted": "cancelled",
}


async def perform(context: dict[str, Any], *, payload: job.Payload) -> str:
    with job.performed(payload) as steps:
        for _ in range(steps):
            await asyncio.sleep(job.STEP)
            await context["job"].update()
    return job.recorder.actor


def work(url: str) -> None:
    from saq import Worker
    from saq.queue.postgres import PostgresQueue

    async def run() -> None:
        queue = PostgresQueue.from_url(url)
        await queue.connect()
        worker: Any = Worker(
            queue, functions=[perform], concurrency=job.CONCURRENCY, timers={"sweep": 1}
        )
        await worker.start()

    asyncio.run(run())


class Client:
    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(self._open(url))

    async def _open(self, url: str) -> None:
        from saq.queue.postgres import PostgresQueue

        self._queue = PostgresQueue.from_url(url, min_size=1, max_size=2)
        await self._queue.connect()

    def migrate(self) -> None:
        """It makes its tables when it connects."""

    def enqueue(self, payload: job.Payload) -> str:
        stored = self._queue.enqueue("perform", payload=payload, heartbeat=3, timeout=60, retries=5)
        enqueued = self._runner.run(stored)
        assert enqueued is not None
        return str(enqueued.key)

    def state(self, id: str) -> str:
        found = self._runner.run(self._queue.job(id))
        return STATES.get(found.status.value, found.status.value) if found else "gone"


if __name__ == "__main__":
    job.main(work, Client)
