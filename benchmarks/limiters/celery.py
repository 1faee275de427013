"""Celery's `rate_limit`, which each worker counts for itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError

from benchmarks.limiters import call

TITLE = "Celery"
PACKAGES = ("celery[redis]",)
SCRIPT = ""
STORE = "redis"
SETTINGS = "`rate_limit`, `acks_late`, prefetch 1, 12 threads; `self.retry(countdown=…)`"
VARIANTS = {", 10/s in each worker": "600/m", ", 5/s in each worker": "300/m"}


def _app(store: str) -> Any:
    from celery import Celery

    app = Celery("comparison", broker=store)
    app.conf.update(
        worker_prefetch_multiplier=1,
        task_acks_late=True,
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        task_annotations={"image": {"rate_limit": os.environ.get("BENCH_VARIANT", "")}},
    )
    for kind in call.MODELS:
        app.task(_task(kind), name=kind, bind=True, max_retries=None)
    return app


def _task(kind: str) -> Callable[[Any, int], None]:
    def perform(self: Any, n: int) -> None:
        try:
            call.ask(kind, n)
        except HTTPError as error:
            wait = call.refused_for(error)
            if wait is None and self.request.retries >= call.TRIES:
                raise
            raise self.retry(countdown=2.0 if wait is None else wait) from error

    return perform


def work(store: str) -> None:
    options = ["--pool=threads", f"--concurrency={call.SLOTS}", "--loglevel=ERROR"]
    _app(store).worker_main(["worker", *options, f"--hostname=w{os.getpid()}@bench"])


def submitter(store: str) -> Callable[[str, int], Any]:
    app = _app(store)
    return lambda kind, n: app.send_task(kind, [n])


if __name__ == "__main__":
    call.main(work, submitter)
