"""Play many seeds: `python -m tests.simulator 2000`, or `python -m tests.simulator 0 100000`."""

from __future__ import annotations

import sys
from time import monotonic

from tests.simulator.clock import Time
from tests.simulator.databases import Memory
from tests.simulator.play import BrokenPromise, Play
from tests.simulator.script import seeded


def main(arguments: list[str]) -> int:
    """Play the seeds; how many have broken a promise."""
    *begin, end = map(int, arguments or ["1000"])
    began = monotonic()
    broken = steps = starts = rescues = refused = late = 0
    for seed in range(begin[0] if begin else 0, end):
        time = Time()
        database = Memory(time)
        play = Play(time, database, joins_claims=seed % 2 == 0)
        try:
            play.run(seeded(seed))
        except BrokenPromise as error:
            broken += 1
            print(f"seed {seed}:\n{error}\n")
        finally:
            database.close()
        checker = play.world.checker
        steps += play.world.sent
        starts += checker.starts.total()
        rescues += checker.rescues
        refused += checker.refused_writes
        late += checker.late
    print(
        f"{end - (begin[0] if begin else 0)} seeds, {steps} statements, {starts} starts, "
        f"{rescues} rescues, {refused} refused outcomes, {late} late statements, "
        f"{broken} broken, {monotonic() - began:.0f} s"
    )
    return broken


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
