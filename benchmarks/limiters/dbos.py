"""DBOS: a queue with a limiter, which counts starts in the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError

from benchmarks.limiters import call

TITLE = "DBOS"
PACKAGES = ("dbos",)
SCRIPT = ""
STORE = "postgresql"
SETTINGS = (
    '`Queue(limiter={"limit": 60, "period": 6}, worker_concurrency=12)`, a second queue for '
    "texts; steps are retried; a 429 is waited for in the step"
)
VARIANTS = {"": ""}


def _configure(store: str) -> None:
    from dbos import DBOS

    DBOS(config={"name": "comparison", "system_database_url": store, "log_level": "ERROR"})

    @DBOS.step(retries_allowed=True, max_attempts=call.TRIES)
    def request(kind: str, n: int) -> None:
        while True:
            try:
                return call.ask(kind, n)
            except HTTPError as error:
                wait = call.refused_for(error)
                if wait is None:
                    raise
                time.sleep(wait)

    @DBOS.workflow(name="perform")
    def perform(kind: str, n: int) -> None:
        request(kind, n)

    DBOS.launch()
    limiter: Any = {"limit": call.IMAGES, "period": call.PERIOD}
    DBOS.register_queue("image", limiter=limiter, worker_concurrency=call.SLOTS)
    DBOS.register_queue("text", worker_concurrency=call.SLOTS)


def work(store: str) -> None:
    _configure(store)
    threading.Event().wait()


def submitter(store: str) -> Callable[[str, int], Any]:
    from dbos import DBOS, DBOSClient

    _configure(store)  # which makes its tables
    DBOS.destroy()
    client = DBOSClient(system_database_url=store)

    def submit(kind: str, n: int) -> None:
        options: Any = {"queue_name": kind, "workflow_name": "perform"}
        client.enqueue(options, kind, n)

    return submit


if __name__ == "__main__":
    call.main(work, submitter)
