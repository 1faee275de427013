"""The job that every system runs, and the processes that run and enqueue it.

`python -m tests.rivals.adapters.NAME ROLE URL FOLDER ACTOR`. Only the standard library is imported
here: in the environment of another system there is nothing else to rely on.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

STEP = 0.25
"""Seconds of a step of work: a frozen process works on where it was stopped."""
CONCURRENCY = 4
Payload = dict[str, Any]


class Client(Protocol):
    """How an app uses a system."""

    def migrate(self) -> None: ...

    def enqueue(self, payload: Payload) -> Any:
        """Store a job; its id, when the system has acknowledged it."""

    def state(self, id: Any) -> str:
        """One of pending, running, completed, failed, cancelled and gone."""


class Recorder:
    """Notes what handlers do, on the disk and outside of any system."""

    def __init__(self, folder: Path, actor: str) -> None:
        self.actor = actor
        self._folder = folder
        path = folder / f"{actor}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def note(self, event: str, **facts: Any) -> None:
        line = json.dumps({"event": event, "at": time.monotonic(), **facts}) + "\n"
        os.write(self._file, line.encode())
        os.fsync(self._file)

    def starts(self, tag: str) -> int:
        """How often a job was started, by whichever worker."""
        text = "".join(path.read_text() for path in self._folder.glob("*.jsonl"))
        events = (json.loads(line) for line in text.splitlines())
        return sum(e["event"] == "start" and e["tag"] == tag for e in events)


recorder: Recorder


@contextmanager
def performed(payload: Payload) -> Iterator[int]:
    """Note that a job starts and how it ends, and give the steps that it takes."""
    tag = payload["tag"]
    again = "again" in payload and recorder.starts(tag) > 0
    recorder.note("start", tag=tag)
    try:
        yield payload["again" if again else "steps"]
    except BaseException as error:
        recorder.note("stopped", tag=tag, error=repr(error))
        raise
    recorder.note("end", tag=tag)


def main(work: Callable[[str], None], client: Callable[[str], Client]) -> None:
    """Be a worker, or a client who answers the lines of its standard input."""
    global recorder  # noqa: PLW0603  handlers are found by name and take a payload only
    role, url, folder, actor = sys.argv[1:]
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    recorder = Recorder(Path(folder), actor)
    if role == "worker":
        threading.Thread(target=_end_with_input, daemon=True).start()
        work(url)
    else:
        _answer(client(url))


def _end_with_input() -> None:
    """No process outlives the one that started it."""
    while os.read(0, 1024):
        pass
    os._exit(1)


def _answer(client: Client) -> None:
    for line in sys.stdin:
        verb, arguments = json.loads(line)
        try:
            answer = {"value": getattr(client, verb)(*arguments)}
        except Exception as error:  # noqa: BLE001  whatever a system raises was not acknowledged
            answer = {"error": repr(error)}
        print(json.dumps(answer, default=str), flush=True)
    os._exit(0)
