"""SQLite: one file, one writer at a time, the same promises.

A unit of work runs whole inside one thread, never across awaits, so a blocked or cancelled task
cannot hold the write lock. Units that wait for each other are committed together.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from jobq._errors import BackendError
from jobq.backends import _migrations
from jobq.backends._alarms import LONG_LOG
from jobq.backends._log import log_size, log_state
from jobq.backends._options import SqliteOptions
from jobq.backends._sqlite_dialect import SqliteDialect
from jobq.backends.sqlite.faces import AsyncSqliteStore, SqliteStore
from jobq.backends.sqlite.writer import connect, empty_log, pause

EMPTYING = 1.0
"""Seconds to wait for those who read, when it is to be emptied."""
SETTLED = 2_000_000_000
"""Nanoseconds after which the log would look otherwise if it were written again: file systems keep
the time of a file in ticks, of milliseconds as a rule and of two seconds at most."""
FOR_CERTAIN = 1.0
"""After how many seconds SQLite is asked for commits, though the log looks as it did."""


class SqliteBackend:
    """A SQLite file."""

    name = "sqlite"
    joins_claims = True

    def __init__(self, options: SqliteOptions, url: str, clock: Any) -> None:
        self.options = options
        self.url = url
        self.dialect = SqliteDialect(clock)
        self.identity = f"sqlite:{os.path.realpath(self.options.path)}"

    def store(self) -> SqliteStore:
        return SqliteStore(self.options, self.dialect)

    def async_store(self, within: float | None = None) -> AsyncSqliteStore:  # noqa: ARG002
        """How long it waits for the lock is the URL's `patience`; nothing else can last."""
        return AsyncSqliteStore(self.options, self.dialect)

    def lease_store(self, within: float) -> SqliteStore:  # noqa: ARG002
        return self.store()

    def outcome_store(self, within: float) -> None:
        """Outcomes are written together with the next claim."""

    def script(self, since: int = 0) -> str:
        return _migrations.script(self.dialect, since=since)

    async def held_up(self, store: AsyncSqliteStore, *, seconds: float) -> str | None:  # noqa: ARG002
        """What keeps the write-ahead log from being reused, where it cannot be emptied."""
        size = log_size(self.options.path)
        if size <= LONG_LOG or await asyncio.to_thread(_has_emptied_log, self.options):
            return None
        return (
            f"the write-ahead log of {self.options.path} has grown to {size / 1e6:.0f} MB: some "
            f"connection reads without an end"
        )

    async def watch(
        self, store: AsyncSqliteStore, hint: Callable[[], None], idle: Callable[[], float]
    ) -> None:
        """Call `hint` whenever another connection commits, within 20 ms, or 250 when long idle."""
        changed, stop = asyncio.Event(), threading.Event()
        tell = partial(asyncio.get_running_loop().call_soon_threadsafe, changed.set)
        look = partial(_look, self.options.path, idle, tell, stop)
        version = await store.data_version()
        threading.Thread(target=look, name="jobq watch", daemon=True).start()
        hint()
        try:
            while True:
                await changed.wait()
                changed.clear()
                try:
                    latest = await store.data_version()
                except BackendError:
                    continue
                if latest != version:
                    version = latest
                    hint()
        finally:
            stop.set()

    fallback_poll = 5.0


def _look(
    path: str, idle: Callable[[], float], tell: Callable[[], object], stop: threading.Event
) -> None:
    """Look at the log for commits; a thread that sleeps costs a third of a loop that does."""
    seen, told_at = None, 0.0
    while not stop.wait(0.02 if idle() < 60 else 0.25):
        now = time.monotonic()
        if idle() < 0.02:
            continue  # who claims all the time finds what is new
        state = log_state(path)
        settled = abs(time.time_ns() - state[1]) > SETTLED
        if state != seen or not settled or now >= told_at + FOR_CERTAIN:
            seen, told_at = state, now
            try:
                tell()
            except RuntimeError:
                return  # the loop is closed


def _has_emptied_log(options: SqliteOptions) -> bool:
    """Whether it could be emptied within a second, whatever others do meanwhile."""
    until = time.monotonic() + EMPTYING
    try:
        with closing(connect(options)) as connection:
            while not empty_log(connection):
                if time.monotonic() > until:
                    return False
                time.sleep(pause())
    except (sqlite3.OperationalError, BackendError):
        return False
    return True
