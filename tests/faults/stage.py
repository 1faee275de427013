"""What the processes of a scenario share: orders from outside, and notes of what they see."""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
from collections.abc import Iterable

import jobq
from tests.faults.history import History


class Orders:
    """Orders to go on, from standard input."""

    def __init__(self) -> None:
        self.given = threading.Semaphore(0)
        self.released = threading.Event()
        """Set by the first order, for all who wait."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while text := os.read(0, 1024):
            for _ in range(text.count(b"\n")):
                self.given.release()
                self.released.set()
        os._exit(1)

    def await_one(self) -> None:
        self.given.acquire()


class Ending:
    """Whether SIGTERM has come. Its handler may come at any point, so it takes no lock."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, *_: object) -> None:
        os.write(self._writer, b".")

    def wait(self, seconds: float = 0.0) -> bool:
        """Wait for it for so long at most; whether it has come."""
        return bool(select.select([self._reader], [], [], seconds)[0])


LONG = 0.5
"""Seconds from which a call of the database is worth a note."""


class Recorder(jobq.Observer):
    """Notes what the engine reports."""

    def __init__(self, history: History) -> None:
        self._history = history

    def lease_lost(self, job_id: str, type: str) -> None:
        self._history.note("lease_lost", job=job_id, type=type)

    def jobs_changed(self, verb: str, job_ids: Iterable[str]) -> None:
        self._history.note("changed", verb=verb, jobs=list(job_ids))

    def database_called(self, op: str, seconds: float, error: BaseException | None) -> None:
        if op in ("heartbeat", "renew"):
            self._history.note("beat", op=op, seconds=seconds, well=error is None)
        elif seconds > LONG:
            self._history.note("long_call", op=op, seconds=seconds, well=error is None)


class Warnings(logging.Handler):
    """Notes what the engine complains about."""

    def __init__(self, history: History) -> None:
        super().__init__(logging.WARNING)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        self._history.note("log", level=record.levelname, text=record.getMessage()[:500])


class Stage:
    """What handlers find in `job.state`."""

    def __init__(self, history: History, url: str, orders: Orders) -> None:
        self.name = history.actor
        self.note = history.note
        self.url = url
        self.orders = orders
