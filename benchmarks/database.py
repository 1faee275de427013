"""A database of one contestant, as the harness sees it: SQL, counters, and a clean start."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, LiteralString, Self

import psycopg
from attrs import Factory, define

from benchmarks.machine import cpu_seconds, server_cpu_seconds
from jobq.testing._postgres import PostgresServer

POLL = 0.05
"""Seconds between two looks whether something is done: rare, for they take time from the work."""
COUNTERS = (
    "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint, "
    "(SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())"
)
STATEMENTS: LiteralString = (
    "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements(false) "
    "WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class TookTooLong(Exception):
    """Something that was waited for did not happen."""


@define(eq=False)
class Database:
    """The database that a contestant works on."""

    url: str
    server: PostgresServer | None = None
    counts_statements: bool = False
    _asked: int = Factory(int)

    @classmethod
    def new(cls, server: PostgresServer, name: str) -> Self:
        """A new, empty one on a server."""
        return cls(server.create_database(name), server)

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))

    def sql(self, text: str) -> list[Any]:
        """Run one statement, committed at once."""
        self._asked += 1
        if self.server is None:
            session = sqlite3.connect(self.path, isolation_level=None, timeout=60)
            with closing(session):
                return session.execute(text).fetchall()
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(text)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def until(self, question: str, timeout: float = 600.0) -> None:
        """Ask until the answer is true."""
        deadline = time.monotonic() + timeout
        while not self.sql(question)[0][0]:
            if time.monotonic() > deadline:
                raise TookTooLong(f"not within {timeout:g} s: {question}")
            time.sleep(POLL)

    def settle(self) -> None:
        """Let the planner know the tables as they are, and have earlier writes behind us."""
        if self.server is None:
            self.sql("ANALYZE")
            self.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            self.sql("VACUUM (ANALYZE)")
            self.sql("CHECKPOINT")

    def counters(self) -> dict[str, float]:
        """What the database has done so far, for all who use it."""
        if self.server is None:
            return {}
        process = self.server._process  # noqa: SLF001  its processes are children of that one
        assert process is not None
        wal, commits = self.sql(COUNTERS)[0]
        found = {
            "database CPU µs": server_cpu_seconds(process.pid) * 1e6,
            "WAL bytes": float(wal),
            "commits": float(commits - self._asked),
        }
        if self.counts_statements:
            found["statements"] = float(self.sql(STATEMENTS)[0][0] - self._asked)
        return found


def per_job(before: dict[str, float], after: dict[str, float], jobs: int) -> dict[str, float]:
    """How much each counter grew a job."""
    return {name: (after[name] - before[name]) / jobs for name in before}


def worker_counters(pids: Iterable[int]) -> dict[str, float]:
    """CPU time and written bytes of processes so far."""
    pids = list(pids)
    written = sum(map(_written, pids))
    return {
        "worker CPU µs": sum(map(cpu_seconds, pids)) * 1e6,
        "bytes written by workers": float(written),
    }


def _written(pid: int) -> int:
    with suppress(OSError):
        facts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return int(facts["wchar"])
    return 0


def metered(
    database: Database, work: Callable[[], float], jobs: int, name: str = "jobs/s"
) -> dict[str, float]:
    """What work in this process took of this process and of the database, a job."""
    ours = worker_counters([os.getpid()])
    theirs = database.counters()
    rate = work()
    spent = per_job(ours, worker_counters([os.getpid()]), jobs)
    return {name: rate} | spent | per_job(theirs, database.counters(), jobs)


def idled(seconds: float, counters: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What was taken in so many seconds of waiting, in percent of a core."""
    before = counters()
    time.sleep(seconds)
    after = counters()
    return {
        name.replace(" CPU µs", " idle CPU %"): (after[name] - before[name]) / seconds / 1e4
        for name in before
        if name.endswith("CPU µs")
    }
