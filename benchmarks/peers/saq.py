"""SAQ on its PostgreSQL queue."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.peers import script

TITLE = "SAQ"
PACKAGES = ("saq[postgres]", "psycopg[binary]")
SCRIPT = ""
STORE = "postgresql"
SLOW = True
NOOPS = 20
SETTINGS = (
    "concurrency 20 for no-ops and 100 for sleepers (default 10), pool of 20; no "
    "bulk enqueue: gathered by 500"
)
DONE = "SELECT NOT EXISTS (SELECT 1 FROM saq_jobs WHERE status IN ('new', 'queued', 'active'))"
SLICE = 500


async def perform(context: dict[str, Any], *, payload: script.Payload) -> None:
    script.tally.begin()
    if "seconds" in payload:
        await asyncio.sleep(payload["seconds"])
    script.tally.end()


def work(url: str, concurrency: int) -> None:
    from saq import Worker
    from saq.queue.postgres import PostgresQueue

    async def run() -> None:
        queue = PostgresQueue.from_url(url)
        await queue.connect()
        worker: Any = Worker(queue, functions=[perform], concurrency=concurrency)
        await worker.start()

    asyncio.run(run())


class Client:
    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(self._open(url))

    async def _open(self, url: str) -> None:
        from saq.queue.postgres import PostgresQueue

        self._queue = PostgresQueue.from_url(url)
        await self._queue.connect()

    def migrate(self) -> None:
        """It makes its tables when it connects."""

    def enqueue(self, payload: script.Payload) -> None:
        self._runner.run(self._queue.enqueue("perform", payload=payload))

    def enqueue_many(self, payloads: list[script.Payload]) -> None:
        self._runner.run(self._all(payloads))

    async def _all(self, payloads: list[script.Payload]) -> None:
        for first in range(0, len(payloads), SLICE):
            some = payloads[first : first + SLICE]
            await asyncio.gather(*(self._queue.enqueue("perform", payload=one) for one in some))


if __name__ == "__main__":
    script.main(work, Client)
