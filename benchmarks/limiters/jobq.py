"""jobq: a limit on the handler, and nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import jobq
from benchmarks.limiters import call

TITLE = "jobq"
PACKAGES: tuple[str, ...] = ()
SCRIPT = ""
STORE = "postgresql"
SETTINGS = '`limits=[RateLimit("images", 60, per=6)]`; what a 429 means it knows by itself'
VARIANTS = {"": ""}
URL = "BENCH_STORE"

router = jobq.Router()
queue = jobq.Queue(os.environ.get(URL, "sqlite:///:unused:"), router=router)
images = jobq.RateLimit("images", call.IMAGES, per=call.PERIOD)


@router.handler("image", limits=[images], retry=jobq.Retry(max_attempts=call.TRIES))
def image(n: int) -> None:
    """One image."""
    call.ask("image", n)


@router.handler("text", retry=jobq.Retry(max_attempts=call.TRIES))
def text(n: int) -> None:
    """One text."""
    call.ask("text", n)


def work(store: str) -> None:
    app = "benchmarks.limiters.jobq:queue"
    command = [sys.executable, "-m", "jobq", "worker", app, "--concurrency", str(call.SLOTS)]
    os.execve(sys.executable, command, os.environ | {URL: store})


def submitter(store: str) -> Callable[[str, int], Any]:
    clients = jobq.Queue(store, router=router)
    clients.migrate()
    return clients.enqueue


if __name__ == "__main__":
    call.main(work, submitter)
