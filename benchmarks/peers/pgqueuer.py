"""PgQueuer, with the settings of its own benchmark: batches of 100, uvloop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from benchmarks.peers import script

TITLE = "PgQueuer"
PACKAGES = ("pgqueuer[asyncpg]", "uvloop")
SCRIPT = ""
STORE = "postgresql"
SLOW = False
NOOPS = 100
SETTINGS = "batch_size 100 (default 10), uvloop, asyncpg; finished jobs move to its log table"
DONE = "SELECT NOT EXISTS (SELECT 1 FROM pgqueuer)"


def work(url: str, concurrency: int) -> None:
    import asyncpg
    import pgqueuer
    import uvloop
    from pgqueuer.db import AsyncpgDriver

    async def run() -> None:
        queuer = pgqueuer.PgQueuer(AsyncpgDriver(await asyncpg.connect(url)))

        @queuer.entrypoint("perform")
        async def perform(one: pgqueuer.Job) -> None:
            script.tally.begin()
            payload = json.loads(one.payload or b"{}")
            if "seconds" in payload:
                await asyncio.sleep(payload["seconds"])
            script.tally.end()

        await queuer.run(batch_size=concurrency)

    uvloop.run(run())


class Client:
    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(self._open(url))

    async def _open(self, url: str) -> None:
        import asyncpg
        from pgqueuer.db import AsyncpgDriver
        from pgqueuer.queries import Queries

        self._queries = Queries(AsyncpgDriver(await asyncpg.connect(url)))

    def migrate(self) -> None:
        self._runner.run(self._queries.install())

    def enqueue(self, payload: script.Payload) -> None:
        self._runner.run(self._queries.enqueue("perform", json.dumps(payload).encode()))

    def enqueue_many(self, payloads: list[script.Payload]) -> None:
        names = ["perform"] * len(payloads)
        texts: list[Any] = [json.dumps(payload).encode() for payload in payloads]
        self._runner.run(self._queries.enqueue(names, texts, [0] * len(payloads)))


if __name__ == "__main__":
    script.main(work, Client)
