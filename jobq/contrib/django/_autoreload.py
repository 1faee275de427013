"""Run a worker that starts again when the code changes, as `runserver` does.

A parent process starts the command anew each time. In the child Django's reloader has the main
thread, and the worker another one: signals and changes stop it gracefully.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from django.utils import autoreload

from jobq._errors import JobqError
from jobq._worker import Worker
from jobq.observe import logger

CHANGED = 3
"""The exit code with which Django's reloader asks for another start."""
MARGIN = 5.0


def is_child() -> bool:
    """Whether this process is one that the parent has started."""
    return os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) == "true"


def start_again_on_change() -> int:
    """The parent: run this process's command again and again; its last exit code."""
    child: subprocess.Popen[bytes] | None = None

    def forward(number: int, _: Any) -> None:
        if child is not None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    environment = {**os.environ, autoreload.DJANGO_AUTORELOAD_ENV: "true"}
    while True:
        # In a process group of its own, so that Ctrl-C reaches it once: through `forward`.
        command = autoreload.get_child_arguments()
        child = subprocess.Popen(command, env=environment, process_group=0)  # noqa: S603  our own
        code = child.wait()
        if code != CHANGED:
            return code if code >= 0 else 128 - code


def serve_until_change(worker: Worker, serve: Callable[[], int]) -> int:
    """The child: run a worker beside Django's reloader; its exit code."""
    reloader = autoreload.get_reloader()
    codes: list[int] = []

    def work() -> None:
        try:
            codes.append(serve())
        except JobqError as error:
            logger.critical("%s", error)
        finally:
            reloader.stop()

    def stop(number: int, _: Any) -> None:
        worker.stop(at_once=stopped.is_set())
        stopped.set()
        del number

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    thread = threading.Thread(target=autoreload.check_errors(work), name="jobq worker", daemon=True)
    thread.start()
    try:
        reloader.run(thread)
    finally:  # the reloader exits the process on a change
        worker.stop()
        thread.join(worker._grace + MARGIN)  # noqa: SLF001
    if not codes:
        sys.exit(1)
    return codes[0]
