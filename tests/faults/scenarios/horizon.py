"""A transaction that stays open keeps PostgreSQL from clearing away what has ended."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg

import jobq
from tests.faults.lab import Findings, Lab, scenario

BACKLOG = 5000
WHOLE_LOOK = """SELECT id FROM jobq_job
WHERE queue = 'default' AND type = 'grist' AND ready AND lane IS NULL
ORDER BY priority DESC, run_at, id LIMIT 1"""


class Mill:
    """A worker in a thread that never runs out of jobs, and counts them."""

    def __init__(self, url: str) -> None:
        self.done = 0
        self.late = threading.Event()
        router = jobq.Router()
        router.handler("grist")(self._grind)
        router.handler("late")(self._came_late)
        self.queue = jobq.Queue(url, router=router)
        self._given = 0
        self._loop = asyncio.new_event_loop()
        self._worker = jobq.Worker(self.queue, concurrency=100)

    async def _grind(self, payload: dict[str, int]) -> None:
        self.done += 1

    async def _came_late(self, payload: dict[str, int]) -> None:
        self.late.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._worker.stop()
            thread.join()
            self.queue.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._worker.run())
        self._loop.close()

    def run_for(self, seconds: float) -> float:
        """Keep it busy, then let it run out; how many jobs a second it did while it was busy."""
        began, done = time.monotonic(), self.done
        while time.monotonic() < began + seconds:
            if self._given - self.done < BACKLOG:
                self.queue.enqueue_many(("grist", {"n": n}) for n in range(BACKLOG))
                self._given += BACKLOG
            time.sleep(0.02)
        rate = (self.done - done) / (time.monotonic() - began)
        while self.done < self._given:
            time.sleep(0.02)
        return rate

    def time_of_a_late_one(self) -> float:
        """The seconds until a job starts that is older than all that are waiting."""
        earlier = datetime.now(UTC) - timedelta(hours=1)
        began = time.monotonic()
        self.queue.enqueue("late", {}, run_at=earlier)
        self.late.wait(60)
        return time.monotonic() - began


def seconds_of_a_whole_look(lab: Lab) -> float:
    """How long it takes to walk over all that has ended, as a claim without edges does."""
    began = time.monotonic()
    lab.sql(WHOLE_LOOK)
    return time.monotonic() - began


@scenario("held-snapshot", codes=("F26",), databases=("postgresql",), full=20_000, quick=3000)
def held_snapshot(lab: Lab) -> Findings:
    """Claims keep four fifths of their rate beside an open snapshot, and old jobs are found."""
    assert lab.server is not None
    window = lab.choose(full=10.0, quick=2.0, tiny=0.3)
    held_for = lab.choose(full=600.0, quick=16.0, tiny=1.0)
    # A snapshot holds up its own database only, so another one shows what the machine can do now.
    free, held = Mill(lab.server.create_database("free")), Mill(lab.url)
    free.queue.migrate()
    ratios = []
    with free.running(), held.running(), psycopg.connect(lab.url) as holder:
        for mill in (free, held):
            mill.run_for(window)
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT count(*) FROM jobq_job")
        began, done = time.monotonic(), held.done
        while time.monotonic() < began + held_for:
            ratios.append(held.run_for(window) / free.run_for(window))
        late = held.time_of_a_late_one()
        look = seconds_of_a_whole_look(lab)
        ended = held.done - done
    last = statistics.median(ratios[-5:])
    # Whole looks take a fifth of a worker's time at most, and are put off for 3 s more.
    longest = 5 * look + 4.0
    findings = Findings(trials=len(ratios), hits=ended)
    findings.check(
        lab.in_time("the rate falls by a fifth at most", [1 / last], 1 / 0.8),
        lab.in_time("a job older than all others starts soon", [late], longest),
    )
    findings.figures = {
        "held s": round(time.monotonic() - began),
        "rate beside it": round(last, 2),
        "at first": round(statistics.median(ratios[:5]), 2),
        "whole look s": round(look, 2),
        "late job s": round(late, 2),
    }
    return findings
