"""Peak memory: of a worker that drains, and of a process that enqueues from a generator."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.bench import Bench, row
from benchmarks.contest import Contest, Reach, Sample
from benchmarks.rows.contestants import contestants
from tests.faults.actors import ROOT, _environment

ENQUEUE = """
import os, sys
import jobq
from benchmarks.machine import peak_memory_mb
url, count = sys.argv[1], int(sys.argv[2])
with jobq.Queue(url, router=jobq.Router()) as queue:
    for outcome in queue.enqueue_many(("noop", {"n": n}) for n in range(count)):
        assert outcome.error is None
print(peak_memory_mb(os.getpid()))
"""
PEAK = "peak MB"


@row("memory")
def memory(bench: Bench, store: str) -> Iterator[Contest]:
    """The largest resident set of a worker, and of an enqueuer of many jobs and of few."""
    count = bench.size(10_000, 1_000)
    many = bench.size(1_000_000, 20_000)
    few = many // 100
    with contestants(bench, store) as found:

        def enqueued(number: int) -> Sample:
            found.jobq.clear()
            return {PEAK: _peak_of_enqueuing(found.jobq.url, number)}

        def only(sample: Sample) -> Sample:
            return {PEAK: sample[PEAK]}

        yield Contest(
            title=f"{store}: peak memory",
            runs={
                "jobq": lambda: only(found.jobq.drained(count)),
                **found.peers_by(lambda peer: only(peer.drained(count))),
            },
            reaches=[Reach(PEAK, most=60.0)],
            settings=found.settings,
            missing=found.missing,
            trials=1,
        )
        large, small = f"jobq, {many:,} enqueued", f"jobq, {few:,} enqueued"
        yield Contest(
            title=f"{store}: peak memory of enqueue_many from a generator",
            runs={large: lambda: enqueued(many), small: lambda: enqueued(few)},
            floor=small,
            reaches=[Reach(PEAK, most=60.0, of=large), Reach(PEAK, most=1.2, of=large, to=small)],
            trials=1,
        )


def _peak_of_enqueuing(url: str, count: int) -> float:
    command = [sys.executable, "-c", ENQUEUE, url, str(count)]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout))
