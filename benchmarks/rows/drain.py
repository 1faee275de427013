"""Drain no-ops: one worker process, several, and what a job takes of worker and database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.bench import Bench, row
from benchmarks.contest import Contest, Reach, Run, Sample
from benchmarks.floors import floor
from benchmarks.rows.contestants import contestants, named
from benchmarks.subject import Subject

RATE = "jobs/s"
SLOTS = ("--concurrency", "100")
COSTS = ("worker CPU µs", "database CPU µs", "WAL bytes", "commits", "statements")


def _drains(jobq: Subject, count: int) -> dict[str, Run]:
    """jobq as a user gets it, and by other settings, which the names say."""
    return {
        "jobq": lambda: jobq.drained(count),
        "jobq, 100 slots": lambda: jobq.drained(count, *SLOTS),
        "jobq, 100 slots, no buffer": lambda: jobq.drained(count, *SLOTS, "--ahead", "0"),
        "jobq, keep=False": lambda: jobq.drained(count, type="deleted"),
    }


@row("drain")
def drain(bench: Bench, store: str) -> Iterator[Contest]:
    """No-ops drained by one worker process, from the first claim to the last durable outcome."""
    count = bench.size(10_000, 1_000)
    with contestants(bench, store) as found:
        name = found.floor.drain_name
        yield Contest(
            title=f"{store}: drain {count:,} no-ops, one worker process",
            runs={
                name: lambda: found.floor.drain(count),
                **_drains(found.jobq, count),
                **found.peers_by(lambda peer: peer.drained(count)),
            },
            floor=name,
            reaches=[
                *([Reach(RATE, least=0.5, to=name)] if store == "sqlite" else _bounds(name)),
                *(
                    Reach(RATE, least=times, of=of, to=named(found, peer))
                    for kind, of, times, peer in PEERS
                    if kind == store
                ),
                Reach("peak MB", most=60.0),
            ],
            settings={"jobq": "defaults: 10 slots, history and heartbeats on", **found.settings},
            missing=found.missing,
        )


def _bounds(name: str) -> list[Reach]:
    return [
        Reach(RATE, least=1.0, to=name),
        Reach(RATE, least=0.6, of="jobq, 100 slots, no buffer", to=name),
    ]


PEERS = (
    ("postgresql", "jobq", 1.6, "PgQueuer"),
    ("postgresql", "jobq", 20.0, "Procrastinate"),
    ("postgresql", "jobq", 20.0, "SAQ"),
    ("postgresql", "jobq, keep=False", 1.0, "graphile-worker"),
    ("sqlite", "jobq", 8.0, "Huey"),
)


@row("processes")
def processes(bench: Bench, store: str) -> Iterator[Contest]:
    """The same by several worker processes, each beside one process of the same trial."""
    count = bench.size(20_000, 1_000)
    numbers = bench.size((2, 4, 8, 16), (2, 4))
    with contestants(bench, store, peers=False) as found:
        bare, jobq = found.floor, found.jobq

        def beside_one(drain_by: Callable[[int], float], number: int) -> Run:
            def run() -> Sample:
                one = drain_by(1)
                several = drain_by(number)
                return {RATE: several, "times one process": several / one, "one process": one}

            return run

        def by_jobq(number: int) -> float:
            return jobq.drained(count, processes=number)[RATE]

        def by_floor(number: int) -> float:
            return float(bare.drain_by(number, count)[RATE])

        runs: dict[str, Run] = {}
        reaches = []
        for number in numbers:
            ours, raw = f"jobq, {number} processes", f"raw loop, {number} processes"
            runs |= {ours: beside_one(by_jobq, number), raw: beside_one(by_floor, number)}
            if number in {2, 4}:
                reaches.append(Reach("times one process", least=1.0, of=ours))
                reaches.append(Reach("times one process", least=0.8, of=ours, to=raw))
        yield Contest(
            title=f"{store}: drain {count:,} no-ops by several worker processes",
            runs=runs,
            reaches=reaches,
        )


@row("costs", stores=("postgresql",))
def costs(bench: Bench, store: str) -> Iterator[Contest]:
    """What a no-op takes: CPU of worker and database, WAL, commits and statements."""
    count = bench.size(10_000, 1_000)
    with bench.counting() as database:
        bare, jobq = floor(database), Subject(database)
        name = bare.drain_name
        yield Contest(
            title=f"{store}: what a drained no-op takes, with pg_stat_statements on",
            runs={
                name: lambda: bare.drain(count),
                "jobq": lambda: jobq.drained(count),
                "jobq, 100 slots": lambda: jobq.drained(count, *SLOTS),
            },
            floor=name,
            reaches=[Reach(figure, most=2.0, to=name) for figure in COSTS],
        )
        bare.close()
        jobq.close()
