"""Limits that change, and limits that are closed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jobq
from jobq.backends import ops
from tests.limits import windows
from tests.limits.lab import Figure, Lab, Sizes, measure, told
from tests.limits.windows import NANOSECONDS

AHEAD = 1.0
"""Seconds for which starts may have been granted already."""


@measure("live", over=Sizes(full=("",), quick=("",), tiny=()))
def live(lab: Lab, _: Any) -> Iterator[Figure]:
    """A rate that is halved and doubled at run time holds at once, and is used."""
    per = lab.choose(full=10.0, quick=4.0, tiny=2.0)
    rates = [round(50 * per), round(25 * per), round(100 * per)]
    lab.use({"call": [jobq.RateLimit("live", rates[0], per=per)]})
    workers = lab.workers(2, concurrency=60)
    lab.add("call", round(per * 2 * 200), payload={"seconds": 0.02})
    lab.until(lab.entered, 60, "a first start")
    for number, n in enumerate(rates):
        limit = jobq.RateLimit("live", n, per=per)
        if number:
            lab.queue.set_limit(limit)
        began = time.time_ns()
        time.sleep(1.6 * per)
        ended = time.time_ns()
        since = began + AHEAD * NANOSECONDS
        starts = [start for start in lab.starts() if since <= start[0] <= ended]
        yield lab.fullest(f"{n} in {per:g} s: fullest window", limit, starts)
        share = windows.pace([ns for ns, _ in starts]) / limit.effective_rate
        yield Figure(
            what=f"{n} in {per:g} s: of the effective rate",
            value=share,
            least=0.98,
            trials=len(starts),
            is_timing=True,
        )
    yield from lab.ended(workers)


@measure("pause")
def pause(lab: Lab, _: Any) -> Iterator[Figure]:
    """A pause is never shortened by another refusal, and an operator's resume ends it at once."""
    lab.use({"call": [jobq.RateLimit("paused", 100, per=1)]})
    workers = lab.workers(2)
    minute = 60_000_000
    lab.run_op(ops.ensure_limits, ["paused"])
    ends = []
    for delay in (10 * minute, minute, 5 * minute, 1):
        row = {"key": "paused", "delay": delay, "until": None, "reason": "refused"}
        lab.run_op(ops.block, [row])
        ends.append(lab.sql("SELECT blocked_until FROM jobq_limit WHERE key = 'paused'")[0][0])
    yield Figure(what="ends of a pause that a shorter one moved", value=len({*ends}) - 1, most=0)
    jobs = lab.add("call", 20)
    time.sleep(lab.choose(full=5.0, quick=3.0, tiny=1.0))
    yield Figure(what="starts while it is closed", value=len(lab.entered()), most=0)
    waiting = lab.queue.get(jobs[0]).waiting_for
    named = waiting is not None and waiting.limit == "paused"
    yield Figure(what="jobs that do not say what they wait for", value=1 - named, most=0)
    resumed = time.time_ns()
    lab.queue.resume_limit("paused")
    lab.until(lab.entered, 30, "a start after the resume")
    yield Figure(
        what="seconds from resume to the first start",
        value=(lab.entered()[0]["ns"] - resumed) / NANOSECONDS,
        most=1.0,
        is_timing=True,
    )
    lab.until_finished(timeout=30)
    yield from lab.ended(workers)


FALLBACK = 5.0
"""Seconds after which an idle worker looks without having been told to."""


@measure("quiet", over=Sizes(full=("",), quick=("",), tiny=()))
def quiet(lab: Lab, _: Any) -> Iterator[Figure]:
    """While a limit is closed its workers ask once for each reason to wake up, and no more."""
    seconds = lab.choose(full=30.0, quick=8.0, tiny=2.0)
    lab.use({"call": [jobq.RateLimit("closed", 100, per=1)]})
    workers = lab.workers(8)
    lab.add("call", 10)
    lab.until_finished(timeout=30)
    opens = datetime.now(UTC) + timedelta(seconds=seconds + 5)
    lab.queue.pause_limit("closed", until=opens, reason="quiet")
    lab.add("call", 100)
    time.sleep(2.0)
    before = lab.counts(workers)
    time.sleep(seconds)
    spent = lab.counts(workers) - before
    fallbacks = len(workers) * (seconds / (0.9 * FALLBACK) + 1)
    reasons = spent["wakes"] + fallbacks
    yield told("hints, per worker", spent["wakes"] / len(workers), len(workers))
    yield told("statements of all kinds, per worker", spent["executed"] / len(workers))
    yield told("statements that touch jobq_limit, per worker", spent["on_limits"] / len(workers))
    yield Figure(
        what="statements that touch jobq_limit, per reason to wake up",
        value=spent["on_limits"] / reasons,
        most=1.0,
        trials=round(reasons),
    )
    yield Figure(
        what="claims of limited jobs, per worker",
        value=spent["ops claim_limited"] / 8,
        most=0,
        trials=8,
    )
    lab.until(lambda: len(lab.entered()) > 10, 30, "a start after the opening")
    first = lab.entered()[10]["ns"] / NANOSECONDS - opens.timestamp()
    yield Figure(
        what="seconds from the opening to the first start",
        value=first,
        most=1.0,
        least=0.0,
        is_timing=True,
    )
    yield from lab.ended(workers)
