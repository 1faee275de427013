"""What a limit allows is used, and nobody else waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jobq
from tests.limits import windows
from tests.limits.lab import Figure, Lab, Sizes, measure, told
from tests.limits.windows import NANOSECONDS

PER_MINUTE = (60, 1_000, 6_000)
USED = 0.98


@measure("utilisation", over=Sizes(full=PER_MINUTE, quick=PER_MINUTE, tiny=()))
def utilisation(lab: Lab, per_minute: int) -> Iterator[Figure]:
    """The rate that is printed is used to 98 %, with few statements and punctual starts."""
    limit = jobq.RateLimit("paced", per_minute, per=60)
    seconds = lab.choose(full=30.0, quick=15.0, tiny=3.0)
    lab.use({"call": [limit]})
    workers = lab.workers(4, concurrency={60: 10, 1_000: 20, 6_000: 50}[per_minute])
    lab.add("call", round(1.5 * seconds * limit.effective_rate) + 10, payload={"seconds": 0.05})
    lab.run_for(1.0)
    began, before = time.time_ns(), lab.counts(workers)
    time.sleep(seconds)
    ended, after = time.time_ns(), lab.counts(workers)
    entered = [event for event in lab.entered() if began <= event["ns"] < ended]
    starts = [event["ns"] for event in entered]
    share = windows.pace(starts) / limit.effective_rate
    yield Figure(
        what=f"of its effective rate of {limit.effective_rate:.3f}/s",
        value=share,
        least=USED,
        trials=len(starts),
        is_timing=True,
    )
    late = [(event["ns"] - event["granted"] * 1_000) / 1e6 for event in entered]
    yield told("start lateness p50, ms", windows.quantile(late, 0.5), len(late))
    yield Figure(
        what="start lateness p99, ms",
        value=windows.quantile(late, 0.99),
        most=50.0,
        trials=len(late),
        is_timing=True,
    )
    spent = after - before
    bound = 1.1 if per_minute >= 1_000 else None
    for what, key, most in (
        ("claims of limited jobs", "ops claim_limited", None),
        ("statements of those claims", "executed claim_limited", bound),
        ("looks at limits without a claim", "ops stand", None),
        ("statements of all kinds", "executed", None),
    ):
        yield Figure(
            what=f"{what}, per start",
            value=spent[key] / len(starts),
            most=most,
            trials=len(starts),
            is_timing=True,
        )
    yield told("starts given back", lab.outcomes()["released"])
    yield from lab.ended(workers)
    yield lab.fullest("fullest window", limit, lab.starts())


@measure("neighbours", over=Sizes(full=("",), quick=("",), tiny=()))
def neighbours(lab: Lab, _: Any) -> Iterator[Figure]:
    """300 images at a limited rate keep no text waiting, and use the rate they have."""
    # Ten times as fast as 60 a minute of 12 s each, beside 0.5 texts a second of 2 s.
    limit = jobq.RateLimit("images", 600, per=60)
    images = lab.choose(full=300, quick=120, tiny=20)
    lab.use({"image": [limit], "text": []})
    workers = lab.workers(1, concurrency=20)
    lab.add("image", images, payload={"seconds": 1.2})
    enqueued: dict[str, int] = {}
    until = time.monotonic() + images / limit.effective_rate
    for queue in _in_turn("default", "text"):
        job = lab.queue.enqueue("text", {"seconds": 0.2}, queue=queue)
        enqueued[job.id] = time.time_ns()
        time.sleep(0.2)
        if time.monotonic() > until:
            break
    lab.until_finished(timeout=60)
    texts = lab.entered("text")
    waits = [(event["ns"] - enqueued[event["job"]]) / NANOSECONDS for event in texts]
    yield told("text waits p50, s", windows.quantile(waits, 0.5), len(waits))
    yield Figure(
        what="text waits p95, s",
        value=windows.quantile(waits, 0.95),
        most=1.0,
        trials=len(waits),
        is_timing=True,
    )
    starts = [event["ns"] for event in lab.entered("image")]
    yield Figure(
        what="images: of the effective rate",
        value=windows.pace(starts) / limit.effective_rate,
        least=USED,
        trials=len(starts),
        is_timing=True,
    )
    yield lab.fullest("images: fullest window", limit, lab.starts("image"))
    claims = lab.sql("SELECT count(*) FROM jobq_attempt")[0][0]
    yield told("claims per job", claims / (len(starts) + len(texts)), claims)
    yield from lab.ended(workers)


def _in_turn(*names: str) -> Iterator[str]:
    while True:
        yield from names


@measure("fairness")
def fairness(lab: Lab, _: Any) -> Iterator[Figure]:
    """A tenant with ten jobs is served in ten rounds beside one with ten thousand."""
    shared = jobq.RateLimit("shared", 600, per=10)
    lab.use({"call": [shared, jobq.RateLimit("tenant:{owner}", 10_000, per=10)]})
    many = lab.choose(full=10_000, quick=10_000, tiny=200)
    lab.add("call", many, owner="a")
    small = lab.add("call", 10, owner="b")
    workers = lab.workers(2, concurrency=20)
    lab.until(lambda: {e["job"] for e in lab.entered()} >= set(small), 60, "all of b are run")
    rounds = 10 + lab.outcomes()["released"]  # a start that came too late has to queue again
    ranked = sorted(lab.entered(), key=lambda event: event["granted"])
    last = max(rank for rank, event in enumerate(ranked, 1) if event["job"] in small)
    yield Figure(what="rounds until the small tenant's last start", value=last / 2, most=rounds)
    yield from lab.ended(workers)
    yield lab.fullest("fullest window", shared, lab.starts("call", "shared"))
