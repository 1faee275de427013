"""The same drain where commits take longer than on the disk of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from benchmarks.bench import Bench, row
from benchmarks.contest import Contest
from benchmarks.database import Database
from benchmarks.floors import floor
from benchmarks.rows.batch import BATCHES
from benchmarks.rows.drain import SLOTS
from benchmarks.subject import Subject


@row("slow-commits", stores=("postgresql",))
def slow_commits(bench: Bench, store: str) -> Iterator[Contest]:
    """No-ops drained where each commit takes 1 ms or 3 ms longer, as on a disk across a network."""
    for more in (1, 3):
        yield from _drain(bench, store, more)


def _drain(bench: Bench, store: str, more: int) -> Iterator[Contest]:
    count = bench.size(10_000, 1_000)
    settings = {"commit_delay": f"{1000 * more}", "commit_siblings": "0"}
    with (
        bench.own_server(**settings) as server,
        closing(floor(Database.new(server, "bare"))) as bare,
        closing(Subject(Database.new(server, "queue"))) as jobq,
    ):
        yield Contest(
            title=f"{store}: drain {count:,} no-ops, each commit {more} ms longer",
            runs={
                bare.drain_name: lambda: bare.drain(count),
                "jobq": lambda: jobq.drained(count),
                "jobq, 100 slots, no buffer": lambda: jobq.drained(count, *SLOTS, "--ahead", "0"),
                BATCHES: lambda: jobq.drained(count, type="batched"),
            },
            floor=bare.drain_name,
            settings={"PostgreSQL": ", ".join(f"{name} {n}" for name, n in settings.items())},
        )
