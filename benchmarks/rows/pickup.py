"""How soon an idle worker begins a job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.bench import Bench, row
from benchmarks.contest import Contest, Reach, Run, Sample
from benchmarks.rows.contestants import contestants
from benchmarks.subject import pickups_in_process
from tests.limits.windows import quantile

ROUND_TRIP = "LISTEN/NOTIFY round trip"


def _quantiles(times: Sequence[float]) -> Sample:
    return {
        "p50 ms": quantile(times, 0.5),
        "p99 ms": quantile(times, 0.99),
        "max ms": max(times),
    }


@row("pickup")
def pickup(bench: Bench, store: str) -> Iterator[Contest]:
    """From `enqueue` returning to the handler's first line, on a worker with nothing to do.

    Below zero where the handler began before `enqueue` had returned.
    """
    count = bench.size(100, 10)
    with contestants(bench, store) as found:
        runs: dict[str, Run] = {
            "jobq": lambda: _quantiles(found.jobq.pickups(count)),
            "jobq, one process": lambda: _quantiles(pickups_in_process(found.jobq.url, count)),
            **found.peers_by(lambda peer: _quantiles(peer.pickups(count))),
        }
        reaches = [Reach("p50 ms", most=20.0)]
        if store == "postgresql":
            runs[ROUND_TRIP] = lambda: _quantiles(found.floor.round_trips(count))
            reaches = [Reach("p50 ms", most=1.5, to=ROUND_TRIP), Reach("p99 ms", most=10.0)]
        yield Contest(
            title=f"{store}: pickup by an idle worker",
            runs=runs,
            floor=ROUND_TRIP if store == "postgresql" else None,
            reaches=reaches,
            settings=found.settings,
            missing=found.missing,
        )
