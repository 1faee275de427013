"""Play many seeds: `python -m tests.simulator 2000`, or `python -m tests.simulator 0 100000`."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from time import monotonic

from attrs import define, field

from tests.simulator.clock import Time
from tests.simulator.databases import Memory
from tests.simulator.play import BrokenPromise, Play
from tests.simulator.scheduler import FAULTS
from tests.simulator.script import seeded

NIGHTLY = 20_000
BATCH = 50
PROCESSES = 2


@define
class Tally:
    """What some seeds came to."""

    counts: Counter[str] = field(factory=Counter)
    injected: Counter[str] = field(factory=Counter)
    hits: Counter[str] = field(factory=Counter)
    broken: list[str] = field(factory=list)

    def add(self, other: Tally) -> None:
        self.counts += other.counts
        self.injected += other.injected
        self.hits += other.hits
        self.broken += other.broken

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {what}" for what, n in self.counts.items())
        faults = ", ".join(f"{self.injected[f]} {f} ({self.hits[f]} hit)" for f in FAULTS)
        return f"{counts}\nfaults of statements: {faults}\n{len(self.broken)} broken"


def played(seed: int) -> Tally:
    """Play the script of a seed."""
    time = Time()
    database = Memory(time)
    play = Play(time, database, joins_claims=seed % 2 == 0)
    tally = Tally()
    try:
        play.run(seeded(seed))
    except BrokenPromise as error:
        tally.broken.append(f"seed {seed}:\n{error}\n")
    finally:
        database.close()
    checker = play.world.checker
    tally.counts.update(
        {
            "seeds": 1,
            "statements": play.world.sent,
            "starts": checker.starts.total(),
            "rescues": checker.rescues,
            "refused outcomes": checker.refused_writes,
            "late statements": checker.late,
        }
    )
    tally.injected, tally.hits = play.world.injected, play.world.hits
    return tally


def played_all(first: int, end: int) -> Tally:
    """Play the seeds from `first`, as far as `end`."""
    tally = Tally()
    for seed in range(first, end):
        tally.add(played(seed))
    return tally


def main(arguments: list[str]) -> int:
    """Play the seeds; how many have broken a promise."""
    *begin, end = map(int, arguments or [str(NIGHTLY)])
    began = monotonic()
    tally = Tally()
    firsts = range(begin[0] if begin else 0, end, BATCH)
    with ProcessPoolExecutor(PROCESSES) as pool:
        for batch in pool.map(partial(_batch, end), firsts):
            tally.add(batch)
            print(*batch.broken, sep="\n", end="", flush=True)
    print(f"{tally}, {monotonic() - began:.0f} s")
    return len(tally.broken)


def _batch(end: int, first: int) -> Tally:
    return played_all(first, min(first + BATCH, end))


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
