"""Workers that die or stand still at the worst moment."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import jobq
from tests.faults.actors import Actor, NeverHappened
from tests.faults.lab import Sizes
from tests.limits.lab import Figure, Lab, measure, told
from tests.limits.windows import NANOSECONDS


@measure("crash")
def crash(lab: Lab, _: Any) -> Iterator[Figure]:
    """`kill -9` between claim and start: no job is lost, and no more permits than were claimed."""
    kills = lab.choose(full=15, quick=5, tiny=2)
    limit = jobq.RateLimit("fragile", 60, per=2)
    lab.use({"call": [limit]})
    options = {"lease": 1.5, "concurrency": 8}
    workers = lab.workers(2, **options)
    for number in range(kills):
        _kill(lab, lab.worker(f"doomed-{number}", dies=True, **options))
    lab.until_finished(timeout=120)
    lab.histories.refresh()
    claimed = lab.histories.of("claimed", where=lambda e: e["limited"])
    cut = [job for event in claimed for job in event["jobs"]]
    yield Figure(what="kills between claim and start", value=len(claimed), least=kills)
    yield from lab.ended(workers)
    [(killed,)] = lab.sql("SELECT count(*) FROM jobq_job WHERE crash_count >= 3")
    yield told("jobs killed three times before they began, which ends them", killed)
    yield lab.fullest("fullest window", limit, lab.starts())
    entered = [event["job"] for event in lab.entered()]
    yield Figure(
        what="jobs run twice", value=len(entered) - len(set(entered)), most=0, trials=len(entered)
    )
    [(granted,)] = lab.sql("SELECT started FROM jobq_limit WHERE key = 'fragile'")
    lost = granted - len(entered) - lab.outcomes()["released"]
    yield Figure(what="permits lost", value=lost, most=len(cut), trials=granted)


def _kill(lab: Lab, doomed: Actor) -> None:
    """Keep enough jobs waiting until a worker has died of claiming some of them."""
    deadline = time.monotonic() + 60
    while doomed.alive:
        if time.monotonic() > deadline:
            raise NeverHappened(f"within 60 s: {doomed.name} claims jobs")
        if lab.queue.counts()["pending"] < 20:
            lab.add("call", 20)
        time.sleep(0.05)


PATIENCE = 3.0
"""Seconds that a process waits for SQLite's lock here."""


@measure("stopped", over=Sizes(full=("",), quick=("",), tiny=()))
def stopped(lab: Lab, _: Any) -> Iterator[Figure]:
    """A worker stopped (SIGSTOP) between two statements of a claim: others go on or say why."""
    limit = jobq.RateLimit("slow", 40, per=2)
    lab.use({"call": [limit]})
    points = list(range(3 if lab.is_postgres else 4)) * lab.choose(full=3, quick=1, tiny=1)
    url = lab.url if lab.is_postgres else f"{lab.url}?patience={PATIENCE:g}"
    others = lab.workers(2, url=url)
    halting = lab.worker("halting", url=url, halts=points)
    lab.await_ready([halting])
    lab.add("call", 20 * 12 * len(points))
    lab.run_for(2.0)
    gaps, after = [], []
    for number in range(len(points)):
        gap, resumed = _halt(lab, halting, others, number)
        gaps.append(gap)
        after.append(resumed)
        time.sleep(2.5)
    yield from _judged(lab, gaps, after)
    yield from lab.ended([*others, halting])
    yield lab.fullest("fullest window", limit, lab.starts())


def _halt(lab: Lab, halting: Actor, others: list[Actor], number: int) -> tuple[float, float]:
    """Stop one for six seconds: the others' longest pause, and theirs once it goes on."""
    halting.go_on()
    lab.until_noted("halting", number + 1, by=halting)
    time.sleep(6.0)
    halting.thaw()
    thawed = time.time_ns()
    lab.until_noted("going_on", number + 1, by=halting)
    halted = lab.histories.of("halting")[number]["ns"]

    def resumed() -> list[int]:
        names = {actor.name for actor in others}
        return [e["ns"] for e in lab.entered() if e.actor in names and e["ns"] > thawed]

    lab.until(resumed, 30, "the others start jobs again")
    names = {actor.name for actor in others}
    mine = [e["ns"] for e in lab.entered() if e.actor in names and halted <= e["ns"] <= thawed]
    instants = [halted, *mine, thawed]
    pairs = itertools.pairwise(instants)
    return (
        max(after - before for before, after in pairs) / NANOSECONDS,
        (resumed()[0] - thawed) / NANOSECONDS,
    )


def _judged(lab: Lab, gaps: list[float], after: list[float]) -> Iterator[Figure]:
    trials = len(gaps)
    if lab.is_postgres:
        yield Figure(
            what="longest pause of the others, s",
            value=max(gaps),
            most=4.0,
            trials=trials,
            is_timing=True,
        )
    else:
        yield told("longest pause of the others, s (they cannot write)", max(gaps), trials)
        said = lab.warned("has kept the SQLite database locked")
        yield Figure(what="reports of the lock", value=len(said), least=trials, trials=trials)
    yield Figure(
        what="longest wait for the others once it goes on, s",
        value=max(after),
        most=2.0,
        trials=trials,
        is_timing=True,
    )
