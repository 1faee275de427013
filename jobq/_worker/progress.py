"""Store the progress and the parts that handlers report: the newest, about twice a second."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from jobq import backends
from jobq._errors import JobqError
from jobq._worker.running import Running
from jobq.observe import Observers, logger

EVERY = 0.5


class ProgressWriter:
    """Coalesces reports. `note` may be called from any thread."""

    def __init__(self, store: backends.AsyncStore, observers: Observers) -> None:
        self._store = store
        self._observers = observers
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._reported: dict[str, Running] = {}
        self._wake = asyncio.Event()

    def note(self, running: Running) -> None:
        """A handler reported progress."""
        if threading.get_ident() == self._thread:
            self._note(running)
        else:
            self._loop.call_soon_threadsafe(self._note, running)

    def _note(self, running: Running) -> None:
        self._reported[running.job.id] = running
        self._wake.set()

    async def run(self) -> None:
        """Store what is reported, until cancelled. The first report of a burst goes at once."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._store_all()
            await asyncio.sleep(EVERY)

    async def _store_all(self) -> None:
        reported, self._reported = self._reported, {}
        open_ = [r for r in reported.values() if not r.finishing and r.committed is None]
        if not open_:
            return
        rows: list[dict[str, Any]] = [
            {
                "id": running.job.id,
                "fence": running.job.fence,
                "progress": running.progress,
                "message": running.message,
                "partial": running.newly_shown,
            }
            for running in open_
        ]
        try:
            stored = set(await self._store.run(backends.ops.progress, rows))
        except JobqError as error:
            logger.warning("cannot store progress: %s", error)
            return
        for running, row in zip(open_, rows, strict=True):
            job = running.job
            if job.id in stored:
                running.shown_before = row["partial"] or running.shown_before
                self._observers.job_progressed(job.id, job.type, running.progress, running.message)
            elif running.stopping != "lease":
                # A renewal, or the handler's own transaction, held the row just then.
                self._note(running)
