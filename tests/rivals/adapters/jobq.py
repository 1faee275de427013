"""jobq itself."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.rivals import job

TITLE = "jobq"
PACKAGES: tuple[str, ...] = ()
STORES = ("PostgreSQL", "SQLite")
SETTINGS = {"Worker(lease)": "3 s (default 30 s)"}


def make_queue(url: str) -> Any:
    import jobq

    router = jobq.Router()

    @router.handler("perform")
    async def perform(payload: job.Payload) -> str:
        with job.performed(payload) as steps:
            for _ in range(steps):
                await asyncio.sleep(job.STEP)
        return job.recorder.actor

    return jobq.Queue(url, router=router)


def work(url: str) -> None:
    import jobq

    worker = jobq.Worker(make_queue(url), lease=3.0, concurrency=job.CONCURRENCY)
    asyncio.run(worker.run())


class Client:
    def __init__(self, url: str) -> None:
        self._queue = make_queue(url)

    def migrate(self) -> None:
        self._queue.migrate()

    def enqueue(self, payload: job.Payload) -> str:
        return str(self._queue.enqueue("perform", payload).id)

    def state(self, id: str) -> str:
        status = str(self._queue.get(id).status)
        return {"processing": "running"}.get(status, status)


if __name__ == "__main__":
    job.main(work, Client)
