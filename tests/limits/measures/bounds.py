"""No window of time ever holds more than a limit allows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jobq
from tests.limits import windows
from tests.limits.lab import Figure, Lab, Sizes, measure, told
from tests.limits.windows import NANOSECONDS

UNITS = 10
"""The most that a job costs of a limit with a burst."""


@measure("bound", over=Sizes(full=(2, 8, 16), quick=(2, 8), tiny=(2,)))
def bound(lab: Lab, processes: int) -> Iterator[Figure]:
    """Every window holds, over all workers, though one blocks its loop and one is stopped."""
    seconds = lab.choose(full=12.0, quick=6.0, tiny=2.0)
    plain = jobq.RateLimit("plain", 60, per=2)
    bursts = jobq.RateLimit("bursts", 200, per=2, max_cost=UNITS)
    lab.use({"one": [plain], "some": [bursts]})
    faults = [{"blocks": (1.5, 1.0)}, *[{}] * (processes - 1)]
    workers = [lab.worker(f"worker-{n}", **options) for n, options in enumerate(faults)]
    lab.await_ready(workers, timeout=120)
    cost = lab.random.randint
    lab.add("one", round(40 * seconds))
    lab.add("some", round(30 * seconds), units={"bursts": lambda: cost(1, UNITS)})
    lab.run_for(seconds / 4)
    workers[-1].freeze()
    time.sleep(lab.choose(full=3.0, quick=3.0, tiny=1.0))
    workers[-1].thaw()
    lab.run_for(seconds)
    yield from lab.ended(workers)
    for type, limit in (("one", plain), ("some", bursts)):
        starts = lab.starts(type, limit.key)
        most = (
            f"{limit.n} in {limit.per:g} s, max_cost={limit.max_cost}: units in the fullest window"
        )
        yield lab.fullest(most, limit, starts)
        rate = sum(units for _, units in starts) / (limit.effective_rate * _span(starts))
        yield told(f"  of its effective rate of {limit.effective_rate:.1f}/s", rate, len(starts))
    hits = lab.outcomes()["released"]
    least = 0 if lab.size == "tiny" else 1
    yield Figure(what="permits too old to be used, given back", value=hits, least=least)


def _span(starts: list[windows.Start]) -> float:
    return (starts[-1][0] - starts[0][0]) / NANOSECONDS or 1.0


@measure("several")
def several(lab: Lab, _: Any) -> Iterator[Figure]:
    """Requests, tokens, a day and tenants on one job: all or nothing; none leaks a permit."""
    rpm = jobq.RateLimit("rpm", 60, per=2)
    tpm = jobq.RateLimit("tpm", 40_000, per=2, max_cost=2_000)
    rpd = jobq.DailyQuota("rpd", 100_000)
    tenant = jobq.RateLimit("tenant:{owner}", 24, per=2)
    lab.use({"call": [rpm, tpm, rpd, tenant]})
    workers = lab.workers(2, concurrency=20)
    seconds = lab.choose(full=10.0, quick=5.0, tiny=2.0)
    owners = ("a", "b", "c")
    for owner in owners:
        units = {"tpm": lambda: lab.random.randint(100, 2_000), f"tenant:{owner}": 1}
        lab.add("call", round(30 * seconds), owner=owner, units=units)
    lab.run_for(seconds)
    lab.queue.pause_limit("tpm")
    time.sleep(1.5)  # what was granted ahead may still start
    closed_at, before = time.time_ns(), _rows(lab)
    time.sleep(lab.choose(full=5.0, quick=3.0, tiny=1.0))
    changed = sum(row != before[key] for key, row in _rows(lab).items() if key != "tpm")
    late = sum(ns > closed_at for ns, _ in lab.starts())
    yield Figure(what="limits debited while another was closed", value=changed, most=0, trials=5)
    yield Figure(what="starts while one of the limits was closed", value=late, most=0)
    yield from lab.ended(workers)
    for limit in (rpm, tpm):
        yield lab.fullest(f"{limit.key}: fullest window", limit, lab.starts("call", limit.key))
    entered = lab.entered()
    for owner in owners:
        mine = [(e["ns"], 1) for e in entered if f"tenant:{owner}" in e["units"]]
        yield lab.fullest(f"tenant:{owner}: fullest window", tenant, mine)
    rows = lab.sql("SELECT key, started FROM jobq_limit WHERE started > 0")
    granted = Counter(dict(rows))
    tenants = sum(granted[f"tenant:{owner}"] for owner in owners)
    counts = {granted["rpm"], granted["tpm"], granted["rpd"], tenants}
    yield Figure(
        what="limits that count other permits than the others",
        value=len(counts) - 1,
        most=0,
        trials=granted["rpm"],
    )
    unused = granted["rpm"] - len(entered) - lab.outcomes()["released"]
    yield Figure(what="permits neither used nor given back", value=unused, most=0)


def _rows(lab: Lab) -> dict[str, tuple[Any, ...]]:
    rows = lab.sql("SELECT key, tat, used, started FROM jobq_limit")
    return {row[0]: row[1:] for row in rows}


@measure("undeclared")
def undeclared(lab: Lab, _: Any) -> Iterator[Figure]:
    """A web process that knows no handlers enqueues by name: the bound holds, none is lost."""
    seconds = lab.choose(full=10.0, quick=5.0, tiny=2.0)
    limit = jobq.RateLimit("gemini", 60, per=2, max_cost=3)
    lab.use({"call": [limit]})
    workers = lab.workers(2)
    lab.actor("web", type="call", seconds=seconds, gap=0.03, burst=30, units={"gemini": 2})
    lab.until_noted("done", 1, timeout=60)
    time.sleep(1.0)
    yield from lab.ended(workers)
    starts = lab.starts("call", "gemini")
    yield Figure(what="jobs run", value=len(starts), least=5)
    yield lab.fullest("units in the fullest window", limit, starts)
    unlimited = lab.sql("SELECT count(*) FROM jobq_job WHERE lane IS NULL AND status <> 'pending'")
    yield Figure(what="jobs that were run without a lane", value=unlimited[0][0], most=0)


@measure("idle")
def idle(lab: Lab, _: Any) -> Iterator[Figure]:
    """Idle time is not counted twice: a full bucket gives its burst at once, then its rate."""
    limit = jobq.RateLimit.raw("raw", 5, per=1, burst=5)
    lab.use({"call": [limit]})
    workers = lab.workers(2)
    lab.add("call", 10)
    lab.until(lambda: len(lab.entered()) >= 10, 30, "the first jobs are run")
    time.sleep(lab.choose(full=10.0, quick=4.0, tiny=2.0))
    rested = time.time_ns()
    lab.add("call", 15)
    lab.until(lambda: len(lab.entered()) >= 25, 30, "the others are run")
    after = [event["granted"] for event in lab.entered() if event["ns"] > rested]
    first = min(after)
    at_once = sum(granted <= first + 1_000 for granted in after)
    within = max(sum(first <= g < first + s * 200_000 for g in after) - s for s in range(1, 11))
    yield Figure(what="permits at once after a rest", value=at_once, most=5, least=5, trials=15)
    yield Figure(what="permits above the rate since", value=within, most=5, trials=15)
    yield from lab.ended(workers)
