"""Run the benchmarks, print one table, and exit non-zero where a ratio is missed.

    python -m benchmarks [--trials 5] [--quick] [sqlite] [postgresql]

Floor and subject take turns within a trial, so that a noisy machine disturbs both; a ratio is the
median of the trials' own ratios.
"""

from __future__ import annotations

import argparse
import platform
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import sqlalchemy
from attrs import frozen

import jobq
from benchmarks.floors import PostgresFloor, SqliteFloor
from jobq.testing._postgres import PostgresServer


@frozen
class Line:
    """One row of the table."""

    work: str
    floor: list[float]
    subject: list[float]
    reach: float
    is_ratio: bool = True

    @property
    def figure(self) -> float:
        if not self.is_ratio:
            return statistics.median(self.subject)
        pairs = zip(self.subject, self.floor, strict=True)
        return statistics.median(ours / bare for ours, bare in pairs)

    @property
    def holds(self) -> bool:
        return self.figure >= self.reach if self.is_ratio else self.figure <= self.reach

    def show(self) -> str:
        verdict = "ok" if self.holds else "MISSED"
        if not self.is_ratio:
            runs = " ".join(f"{value:.1f}" for value in self.subject)
            return (
                f"{self.work:42} {self.figure:7.1f} ms   ≤ {self.reach:<5g} {verdict:7} runs {runs}"
            )
        ours = " ".join(f"{value:,.0f}" for value in self.subject)
        bare = " ".join(f"{value:,.0f}" for value in self.floor)
        return (
            f"{self.work:42} {self.figure:7.2f} ×    ≥ {self.reach:<5g} {verdict:7} "
            f"jobq {ours} | bare {bare} /s"
        )


def compare(
    work: str,
    floor: Callable[[], float],
    subject: Callable[[], float],
    reach: float,
    trials: int,
) -> Line:
    bare, ours = [], []
    for _ in range(trials):
        bare.append(floor())
        ours.append(subject())
    line = Line(work, bare, ours, reach)
    print(line.show(), flush=True)
    return line


def measure(work: str, subject: Callable[[], float], reach: float, trials: int) -> Line:
    line = Line(work, [], [subject() for _ in range(trials)], reach, is_ratio=False)
    print(line.show(), flush=True)
    return line


def on(
    name: str, url: str, floor: PostgresFloor | SqliteFloor, trials: int, quick: bool
) -> list[Line]:
    import os

    os.environ["BENCH_URL"] = url
    from benchmarks.subject import Subject, pickup_in_process

    subject = Subject(url)
    singles = 200 if quick else 500
    many = 10_000
    bare_async = "psycopg async" if name == "postgresql" else "aiosqlite"
    bare_bulk = "COPY" if name == "postgresql" else "executemany"
    lines = [
        compare(
            f"{name}: enqueue one, async / {bare_async}",
            lambda: floor.enqueue_async(singles),
            lambda: subject.enqueue_async(singles),
            0.6,
            trials,
        ),
        compare(
            f"{name}: enqueue one, sync / bare driver",
            lambda: floor.enqueue(singles),
            lambda: subject.enqueue(singles),
            0.6,
            trials,
        ),
        compare(
            f"{name}: enqueue_many 10,000 / {bare_bulk}",
            lambda: floor.enqueue_many(many),
            lambda: subject.enqueue_many(many),
            0.5,
            trials,
        ),
        compare(
            f"{name}: drain 10,000, 100 slots / claim-100",
            lambda: floor.drain(many),
            lambda: subject.drain(many),
            0.4,
            trials,
        ),
    ]
    subject.clear()
    pickups = 20 if quick else 60
    limit = 5.0 if name == "postgresql" else 30.0
    lines.append(
        measure(f"{name}: pickup p50, other process", lambda: subject.pickup(pickups), limit, 3)
    )
    lines.append(
        measure(
            f"{name}: pickup p50, same process", lambda: pickup_in_process(url, pickups), 5.0, 3
        )
    )
    subject.close()
    return lines


def versions(server: str) -> str:
    return (
        f"jobq {jobq.__version__} · Python {platform.python_version()} · SQLite "
        f"{sqlite3.sqlite_version} (WAL, FULL) · psycopg {psycopg.__version__} · SQLAlchemy "
        f"{sqlalchemy.__version__} · {server} (fsync on) · {platform.machine()}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("databases", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="fewer jobs and two trials")
    options = parser.parse_args()
    trials = 2 if options.quick else options.trials
    lines: list[Line] = []
    if "sqlite" in options.databases:
        with tempfile.TemporaryDirectory() as folder:
            print(versions("no server"))
            floor = SqliteFloor(Path(folder) / "bare.db")
            lines += on("sqlite", f"sqlite:///{folder}/jobs.db", floor, trials, options.quick)
            floor.close()
    if "postgresql" in options.databases:
        with PostgresServer.start(durable=True) as server:
            server.create_database("bench")
            url = server.url("bench")
            with psycopg.connect(url) as connection:
                row = connection.execute("SHOW server_version").fetchone()
            print(versions(f"PostgreSQL {row[0] if row else '?'}"))
            bare = PostgresFloor(url)
            lines += on("postgresql", url, bare, trials, options.quick)
            bare.close()
    missed = [line.work for line in lines if not line.holds]
    print(
        f"{len(lines) - len(missed)} of {len(lines)} reached"
        + "".join(f"\n  missed: {m}" for m in missed)
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
