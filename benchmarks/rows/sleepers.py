"""Handlers that wait, as those that call a slow service do."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, row
from benchmarks.contest import Contest, Reach, Sample
from benchmarks.rows.contestants import contestants

SECONDS = 0.05


@row("sleepers")
def sleepers(bench: Bench, store: str) -> Iterator[Contest]:
    """Jobs that sleep for 50 ms, a hundred at a time, against what that takes at least."""
    count = bench.size(2_000, 400)
    ideal = count * SECONDS / 100

    def times_ideal(sample: Sample) -> Sample:
        seconds = sample.get("seconds", count / sample["jobs/s"])
        return {"seconds": seconds, "times ideal": seconds / ideal, **sample}

    with contestants(bench, store) as found:
        payload = {"seconds": SECONDS}

        def ours() -> Sample:
            how = {"type": "sleeper", "payload": payload}
            return times_ideal(found.jobq.drained(count, "--concurrency", "100", **how))

        yield Contest(
            title=f"{store}: {count:,} jobs of 50 ms, concurrency 100 (ideal {ideal:g} s)",
            runs={
                "jobq": ours,
                **found.peers_by(lambda peer: times_ideal(peer.drained(count, SECONDS))),
            },
            reaches=[Reach("times ideal", most=1.15)],
            settings={"jobq": "--concurrency 100", **found.settings},
            missing=found.missing,
        )
