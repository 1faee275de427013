"""Against a provider that counts for itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jobq
from tests.faults.history import Event
from tests.limits import windows
from tests.limits.lab import Figure, Lab, measure, told
from tests.limits.provider import KINDS
from tests.limits.windows import NANOSECONDS

REQUESTS = 2_000


@measure("provider")
def provider(lab: Lab, _: Any) -> Iterator[Figure]:
    """A provider with a sliding log of its own refuses none of 2,000 requests."""
    limit = jobq.RateLimit("provider", 1_000, per=10)
    count = lab.choose(full=REQUESTS, quick=REQUESTS, tiny=50)
    url = lab.provider(n=limit.n, per=limit.per)
    lab.use({"call": [limit]})
    workers = lab.workers(4, concurrency=20)
    lab.add("call", count, payload={"url": f"{url}/call"})
    lab.until(lambda: len(_requests(lab)) >= count, 120, "all requests are made")
    yield from lab.ended(workers)
    requests = _requests(lab)
    refused = sum(request["refused"] for request in requests)
    yield Figure(what="requests", value=len(requests), least=count)
    yield Figure(what="refused", value=refused, most=0, trials=len(requests))
    rate = windows.pace([request["ns"] for request in requests])
    yield told("  of the effective rate", rate / limit.effective_rate, len(requests))


def _requests(lab: Lab, kind: str | None = None) -> list[Event]:
    lab.histories.refresh()
    return lab.histories.of("request", where=lambda e: kind in (None, e["kind"]))


STORM = 4.0
RATE = 20
JOBS = 40
LATENCY = 0.2
"""Seconds that an answer takes at most: so long after the first refusal others are under way."""
GRACE = 0.5
"""Seconds in which a refusal becomes known to the workers of other processes."""


@measure("storm")
def storm(lab: Lab, _: Any) -> Iterator[Figure]:
    """Refusals, however they are worded, cost no attempt, no hot loop, and end without a herd."""
    url = lab.provider(storm=STORM, latency=LATENCY)
    limits = {kind: jobq.RateLimit(kind, RATE * 2, per=2) for kind in KINDS}
    lab.use({f"{kind}_in_thread": [limit] for kind, limit in limits.items()})
    workers = lab.workers(2, concurrency=40, threads=40)
    for kind in KINDS:
        lab.add(f"{kind}_in_thread", JOBS, payload={"url": f"{url}/storm/{kind}"})
    lab.until(lambda: len({r["kind"] for r in _requests(lab)}) == len(KINDS), 30, "all are called")
    time.sleep(STORM + 2.0)
    resumed = time.time_ns()
    lab.queue.resume_limit("huge")
    lab.until_finished(timeout=90)
    first = next(r["ns"] for r in _requests(lab, "huge") if r["ns"] > resumed)
    yield Figure(
        what="huge: seconds from an operator's resume to the first request",
        value=(first - resumed) / NANOSECONDS,
        most=1.0,
        is_timing=True,
    )
    for kind, limit in limits.items():
        yield from _weathered(lab, kind, limit)
    yield from lab.ended(workers)


def _weathered(lab: Lab, kind: str, limit: jobq.RateLimit) -> Iterator[Figure]:
    requests = _requests(lab, kind)
    refused = [request for request in requests if request["refused"]]
    served = [request for request in requests if not request["refused"]]
    used = lab.sql(
        f"SELECT count(*) FROM jobq_job WHERE type = '{kind}_in_thread'"
        " AND NOT (status = 'completed' AND attempts = 1)"
    )
    yield Figure(what=f"{kind}: jobs that lost an attempt", value=used[0][0], most=0, trials=JOBS)
    yield lab.fullest(f"{kind}: fullest window", limit, lab.starts(f"{kind}_in_thread"))
    # Without any closing there would have been as many as the rate allows.
    most = STORM * RATE / 4
    yield Figure(what=f"{kind}: requests refused", value=len(refused), most=most, trials=JOBS)
    if kind in ("seconds", "date", "huge"):
        yield Figure(
            what=f"{kind}: requests while closed, after {GRACE} s",
            value=_while_closed(refused, requests),
            most=0,
            trials=len(requests),
        )
    burst = windows.fullest([(request["ns"], 1) for request in served], 1 / RATE)
    yield told(f"{kind}: most requests within 1/rate of each other, thawed", burst, len(served))


def _while_closed(refused: list[Event], requests: list[Event]) -> int:
    """Requests well after a refusal and well before the moment that it named."""
    closed = [(r["ns"] + GRACE * NANOSECONDS, (r["until"] - 0.1) * NANOSECONDS) for r in refused]
    last = max((r["ns"] for r in refused), default=0)
    return sum(
        any(begins < request["ns"] < ends for begins, ends in closed)
        for request in requests
        if request["ns"] <= last
    )
