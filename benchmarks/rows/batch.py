"""Batch handlers: one call gets a list of jobs."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, row
from benchmarks.contest import Contest, Reach, Run
from benchmarks.rows.contestants import contestants

BATCHES = "jobq, batches of 100"


@row("batch")
def batch(bench: Bench, store: str) -> Iterator[Contest]:
    """No-ops drained by a handler that takes a hundred jobs a call."""
    count = bench.size(10_000, 1_000)
    with contestants(bench, store, peers=False) as found:
        name = found.floor.drain_name
        runs: dict[str, Run] = {
            name: lambda: found.floor.drain(count),
            BATCHES: lambda: found.jobq.drained(count, type="batched"),
        }
        least = 1.2 if store == "postgresql" else None
        yield Contest(
            title=f"{store}: drain {count:,} no-ops in batches",
            runs=runs,
            floor=name,
            reaches=[Reach("jobs/s", least=least, of=BATCHES, to=name)] if least else [],
        )
