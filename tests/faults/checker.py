"""Judges a run by the actors' histories and the tables, which it reads with plain SQL.

A check is an invariant, how often it was looked at, and what broke it.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Any

import psycopg
from attrs import Factory, frozen

from tests.faults.history import Event

FINISHED = ("completed", "failed", "cancelled")
KILLS_ALLOWED = 3


@frozen
class Check:
    """An invariant, checked `of` times; `broken` names what broke it."""

    invariant: str
    of: int
    broken: Sequence[Any] = ()

    @property
    def holds(self) -> bool:
        return not self.broken

    def __str__(self) -> str:
        mark = "ok  " if self.holds else "MISS"
        examples = f": {', '.join(map(str, self.broken[:5]))}" if self.broken else ""
        return f"{mark} {self.invariant}: {len(self.broken)} broken of {self.of}{examples}"


@frozen(kw_only=True)
class Row:
    """A job as the table has it."""

    id: str
    type: str
    status: str
    attempts: int
    crash_count: int
    released_count: int
    worker: str | None
    error_code: str | None
    result: Any


@frozen(kw_only=True)
class Ended:
    """An ended attempt as the table has it."""

    job_id: str
    outcome: str
    worker: str | None
    error_code: str | None
    ended_at: float
    """By the wall clock, in seconds."""


@frozen
class Dump:
    """The tables at one moment."""

    jobs: dict[str, Row]
    attempts: dict[str, list[Ended]] = Factory(dict)

    def having(self, status: str) -> list[Row]:
        return [job for job in self.jobs.values() if job.status == status]


def is_locked(url: str) -> bool:
    """Whether somebody holds SQLite's write lock at this moment."""
    path = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
    return False


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement on a connection of its own, past jobq."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def dump(url: str) -> Dump:
    """Read the tables."""
    jobs = query(
        url,
        "SELECT CAST(id AS text), type, status, attempts, crash_count, released_count, worker,"
        " error_code, CAST(result AS text) FROM jobq_job",
    )
    names = [name for name in Row.__annotations__ if name != "result"]
    rows = [
        Row(**dict(zip(names, row, strict=False)), result=json.loads(row[-1]) if row[-1] else None)
        for row in jobs
    ]
    attempts: dict[str, list[Ended]] = defaultdict(list)
    seconds = "ended_at / 1e6" if url.startswith("sqlite") else "extract(epoch FROM ended_at)"
    ended = query(
        url,
        f"SELECT CAST(job_id AS text), outcome, worker, error_code, {seconds} FROM jobq_attempt",
    )
    for row in ended:
        attempts[row[0]].append(Ended(**dict(zip(Ended.__annotations__, row, strict=True))))
    return Dump({row.id: row for row in rows}, attempts)


def is_crash(ended: Ended) -> bool:
    """Whether a rescue ended this attempt."""
    return ended.error_code in ("crashed", "crash_loop")


def is_untouched(job: Row) -> bool:
    """Whether a job waits as if nobody had ever claimed it."""
    return job.status == "pending" and job.attempts == 0


def rescues(tables: Dump) -> int:
    """How often a job was taken from a dead worker."""
    return sum(is_crash(ended) for attempts in tables.attempts.values() for ended in attempts)


def none_lost(tables: Dump, acknowledged: Iterable[str]) -> Check:
    """Every acknowledged job is there."""
    ids = list(acknowledged)
    return Check(
        "an acknowledged job is stored", len(ids), [i for i in ids if i not in tables.jobs]
    )


def none_in_secret(tables: Dump, acknowledged: Iterable[str], unknown: int) -> Check:
    """Who was not told that a job is stored was told at least that this is unknown."""
    more = tables.jobs.keys() - set(acknowledged)
    return Check(
        "a job is stored as its enqueuer was told",
        len(tables.jobs),
        sorted(more) if len(more) > unknown else (),
    )


def none_stuck(tables: Dump) -> Check:
    """Every job came to an end."""
    stuck = [f"{job.id} {job.status}" for job in tables.jobs.values() if job.status not in FINISHED]
    return Check("a job comes to an end", len(tables.jobs), stuck)


def all_completed(tables: Dump) -> Check:
    other = [
        f"{job.id} {job.status} {job.error_code}"
        for job in tables.jobs.values()
        if job.status != "completed"
    ]
    return Check("a job is completed", len(tables.jobs), other)


def starts(events: Iterable[Event]) -> Counter[str]:
    """How often each job's handler was started."""
    return Counter(event["job"] for event in events if event.event == "start")


def started_once(tables: Dump, events: Iterable[Event]) -> Check:
    """Without faults every job is started exactly once."""
    started = starts(events)
    other = [f"{id} x{started[id]}" for id in tables.jobs if started[id] != 1]
    return Check("a job is started exactly once", len(tables.jobs), other)


def none_unexpected(tables: Dump, events: Iterable[Event]) -> Check:
    """Nothing ran that was never stored."""
    started = starts(events)
    return Check("what is started was enqueued", len(started), [*started.keys() - tables.jobs])


def starts_bounded(tables: Dump, events: Iterable[Event]) -> Check:
    """A job starts again only because a rescue took it from a dead worker."""
    started = starts(events)
    too_many = []
    for id, count in started.items():
        rescues = sum(map(is_crash, tables.attempts.get(id, ())))
        if count > 1 + rescues:
            too_many.append(f"{id}: {count} starts, {rescues} rescues")
    return Check("starts are at most 1 + rescues", len(started), too_many)


def failures_are_kills(tables: Dump, killed: set[str]) -> Check:
    """A job may end failed only where each of its three attempts died with its worker."""
    failed = tables.having("failed")
    wrong = []
    for job in failed:
        deaths = [a for a in tables.attempts.get(job.id, ()) if is_crash(a) and a.worker in killed]
        if len(deaths) < KILLS_ALLOWED:
            wrong.append(f"{job.id} {job.error_code}: {len(deaths)} kills")
    return Check("a failed job was killed three times", len(failed), wrong)


def few_failed(tables: Dump, share: float = 0.01) -> Check:
    failed = [job.id for job in tables.having("failed")]
    allowed = share * len(tables.jobs)
    return Check(
        f"at most {share:.0%} of the jobs failed ({len(failed)} did)",
        len(tables.jobs),
        failed if len(failed) > allowed else (),
    )


def none_leased(tables: Dump) -> Check:
    """No job is left in the hands of a worker that has gone."""
    held = [f"{job.id} {job.worker}" for job in tables.jobs.values() if job.status == "processing"]
    return Check("no job is left leased", len(tables.jobs), held)


def each(invariant: str, things: Iterable[Any], holds: Callable[[Any], bool]) -> Check:
    """Any other invariant: `holds` is asked of each thing."""
    asked = list(things)
    return Check(invariant, len(asked), [thing for thing in asked if not holds(thing)])


def that(invariant: str, holds: bool, otherwise: object = "it does not") -> Check:
    """A single fact."""
    return Check(invariant, 1, () if holds else (otherwise,))


def nothing_wrong(
    tables: Dump, events: Sequence[Event], acknowledged: Iterable[str]
) -> tuple[Check, ...]:
    """All that was acknowledged is completed, and nothing ran that should not have."""
    return (
        none_lost(tables, acknowledged),
        all_completed(tables),
        none_unexpected(tables, events),
        starts_bounded(tables, events),
    )
