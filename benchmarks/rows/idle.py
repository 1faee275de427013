"""What a worker takes that has nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.bench import Bench, row
from benchmarks.contest import Contest, Reach, Sample
from benchmarks.database import Database, idled, worker_counters
from benchmarks.subject import Subject

CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
LONG = 60.0
"""Seconds without work after which a worker on SQLite looks less often."""


@row("idle")
def idle(bench: Bench, store: str) -> Iterator[Contest]:
    """CPU of an idle worker, of its database, and the statements that it sends."""
    with ExitStack() as stack:
        is_postgres = store == "postgresql"
        database = stack.enter_context(bench.counting() if is_postgres else bench.database(store))
        subject = Subject(database)
        stack.callback(subject.close)
        yield Contest(
            title=f"{store}: an idle worker",
            runs={"jobq": lambda: _idle(bench, subject, database)},
            reaches=_bounds(is_postgres, long=not bench.quick),
            trials=bench.size(2, 1),
        )


def _bounds(is_postgres: bool, *, long: bool) -> list[Reach]:
    if is_postgres:
        return [Reach("statements/s", most=0.5), Reach("worker idle CPU %", most=0.2)]
    later = [Reach("worker idle CPU % after a minute", most=0.3)] if long else []
    return [Reach("worker idle CPU %", most=2.0), *later]


def _idle(bench: Bench, subject: Subject, database: Database) -> Sample:
    subject.close()  # its own connections
    with subject.worker() as worker:
        subject.until_at_work(1)
        time.sleep(bench.size(5.0, 1.0))

        def counters() -> dict[str, float]:
            return worker_counters([worker.pid]) | database.counters()

        seconds = bench.size(40.0, 3.0)
        before = database.counters()
        found = idled(seconds, counters)
        if "statements" in before:
            sent = database.counters()["statements"] - before["statements"]
            found["statements/s"] = sent / seconds
            found["connections"] = float(database.sql(CONNECTIONS)[0][0])
        if not bench.quick:
            time.sleep(LONG - seconds)
            later = idled(30.0, counters)
            found |= {f"{name} after a minute": value for name, value in later.items()}
    return found
