"""The same drain beside many rows that are not to be run now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg

from benchmarks.bench import Bench, row
from benchmarks.contest import Contest, Reach, Run
from benchmarks.database import Database
from benchmarks.rows.seeds import Seed
from benchmarks.subject import Subject

EMPTY = "an empty table"
SNAPSHOT = "a held snapshot"


def _seeds(many: int) -> dict[str, Seed]:
    fewer = many // 5
    finished = Seed(count=many, type="earlier", status="completed", rest=-200_000)
    return {
        f"{many:,} finished": finished,
        f"{many:,} future": Seed(count=many),
        f"{many:,} future, more urgent": Seed(count=many, priority=100),
        f"{fewer:,} of an unknown type": Seed(
            count=fewer, type="stranger", declared=False, rest=-200_000
        ),
    }


@row("backlogs")
def backlogs(bench: Bench, store: str) -> Iterator[Contest]:
    """A drain beside finished, future, unknown and dead rows, against the same without them.

    The idle figures are those of the worker and the database once the last due job is done.
    """
    count = bench.size(10_000, 1_000)
    idle = bench.size(5.0, 0.5)
    with ExitStack() as stack:

        def contestant(seed: Seed | None = None) -> Run:
            database = stack.enter_context(bench.database(store))
            subject = Subject(database)
            stack.callback(subject.close)
            if seed is not None:
                seed.store(database)
            return lambda: subject.drained(count, clear=seed is None, idle=idle)

        runs = {EMPTY: contestant()}
        seeds = _seeds(bench.size(500_000, 20_000))
        runs |= {name: contestant(seed) for name, seed in seeds.items()}
        reaches = [Reach("jobs/s", least=0.9, of=name, to=EMPTY) for name in seeds]
        if store == "postgresql":
            runs[SNAPSHOT] = _beside_a_snapshot(stack, bench, count)
            reaches.append(Reach("jobs/s", least=0.8, of=SNAPSHOT, to=EMPTY))
        yield Contest(
            title=f"{store}: drain {count:,} no-ops beside other rows",
            runs=runs,
            floor=EMPTY,
            reaches=reaches,
        )


def _beside_a_snapshot(stack: ExitStack, bench: Bench, count: int) -> Run:
    """The dead rows of all trials stay, as the snapshot is held from before the first."""
    database = stack.enter_context(bench.database("postgresql"))
    subject = Subject(database)
    stack.callback(subject.close)
    stack.enter_context(_held_snapshot(database))
    return lambda: subject.drained(count, clear=False)


@contextmanager
def _held_snapshot(database: Database) -> Iterator[None]:
    with psycopg.connect(database.url) as session:
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        session.execute("SELECT count(*) FROM jobq_job")
        yield
