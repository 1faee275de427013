"""Huey: takes a task out of its store before it runs it, and has no heartbeats."""

from __future__ import annotations

import time
from typing import Any

from tests.rivals import job

TITLE = "Huey"
PACKAGES = ("huey[postgres]", "psycopg[binary]")
STORES = ("SQLite", "PostgreSQL")
SETTINGS = {
    "consumer": "4 threads (default 1), max_delay 1 s (default 10 s); nothing to set for faults"
}


def make_huey(url: str) -> tuple[Any, Any]:
    from huey import PostgresHuey, SqliteHuey

    if url.startswith("sqlite"):
        huey = SqliteHuey(filename=url.removeprefix("sqlite:///"), fsync=True)
    else:
        huey = PostgresHuey(dsn=url)

    @huey.task()
    def perform(payload: job.Payload) -> str:
        with job.performed(payload) as steps:
            for _ in range(steps):
                time.sleep(job.STEP)
        return job.recorder.actor

    return huey, perform


def work(url: str) -> None:
    huey, _ = make_huey(url)
    huey.create_consumer(workers=job.CONCURRENCY, max_delay=1.0).run()


class Client:
    def __init__(self, url: str) -> None:
        self._huey, self._perform = make_huey(url)

    def migrate(self) -> None:
        """It makes its tables itself."""

    def enqueue(self, payload: job.Payload) -> str:
        return str(self._perform(payload).id)

    def state(self, id: str) -> str:
        if self._huey.result(id, preserve=True) is not None:
            return "completed"
        return "pending" if any(task.id == id for task in self._huey.pending()) else "gone"


if __name__ == "__main__":
    job.main(work, Client)
