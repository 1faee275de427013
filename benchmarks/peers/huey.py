"""Huey on SQLite: it takes a task out of its store before it runs it, so a crash loses it."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.peers import script

TITLE = "Huey"
PACKAGES = ("huey",)
SCRIPT = ""
STORE = "sqlite"
SLOW = False
NOOPS = 1
SETTINGS = (
    "fsync=True (default off), no results kept, 1 thread for no-ops and 100 for sleepers, looks "
    "each 10-50 ms (default 0.1-10 s); no bulk enqueue: a loop; may lose jobs"
)
DONE = "SELECT NOT EXISTS (SELECT 1 FROM task)"


def make_huey(url: str) -> tuple[Any, Any]:
    from huey import SqliteHuey

    path = url.removeprefix("sqlite:///")
    huey = SqliteHuey(filename=path, fsync=True, results=False)

    @huey.task()
    def perform(payload: script.Payload) -> None:
        script.tally.begin()
        if "seconds" in payload:
            time.sleep(payload["seconds"])
        script.tally.end()

    return huey, perform


def work(url: str, concurrency: int) -> None:
    huey, _ = make_huey(url)
    huey.create_consumer(
        workers=concurrency, initial_delay=0.01, max_delay=0.05, backoff=1.15
    ).run()


class Client:
    def __init__(self, url: str) -> None:
        _, self._perform = make_huey(url)

    def migrate(self) -> None:
        """It makes its tables itself."""

    def enqueue(self, payload: script.Payload) -> None:
        self._perform(payload)

    def enqueue_many(self, payloads: list[script.Payload]) -> None:
        for payload in payloads:
            self._perform(payload)


if __name__ == "__main__":
    script.main(work, Client)
