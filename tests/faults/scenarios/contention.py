"""Nothing fails, but many workers want the same jobs, or the same write lock."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

from tests.faults import checker
from tests.faults.lab import Findings, Lab, scenario


@scenario("exactly-once", full=5000, quick=1500, tiny=200)
def exactly_once(lab: Lab) -> Findings:
    """Eight workers and thousands of jobs: each is handled exactly once."""
    count = lab.choose(full=5000, quick=1500, tiny=200)
    workers = lab.workers(lab.choose(full=8, quick=8, tiny=3))
    began = time.monotonic()
    for type in ("step", "step_in_thread"):
        lab.enqueue_many(type, ({} for _ in range(count // 2)))
    lab.until_finished(timeout=120)
    seconds = time.monotonic() - began
    ended = lab.stop(workers)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    started = [event for event in events if event.event == "start"]
    findings = Findings(trials=count, hits=len(started))
    findings.check(
        ended,
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.started_once(tables, events),
        checker.none_unexpected(tables, events),
    )
    shares = Counter(event.actor for event in started)
    findings.figures = {
        "jobs/s": round(count / seconds),
        "share of a worker": f"{min(shares.values())}-{max(shares.values())}",
    }
    return findings


@scenario("slots", full=40, quick=40, tiny=40)
def slots(lab: Lab) -> Findings:
    """Two workers of ten slots and forty jobs that wait: no worker holds more than ten."""
    workers = [lab.worker(f"worker-{n}", concurrency=10, lease=3.0) for n in range(2)]
    lab.await_ready(workers)
    lab.enqueue_many("late_in_thread", ({} for _ in range(40)))
    lab.until_noted("start", 20)
    lab.until(lambda: _busy_workers(lab) == [10, 10], 30, "both workers show ten busy slots")
    held = Counter(event.actor for event in lab.histories.refresh() if event.event == "start")
    open_ = lab.queue.counts()
    for worker in workers:
        worker.go_on()
    lab.until_finished(timeout=60)
    ended = lab.stop(workers)
    events = lab.histories.refresh()
    most = most_at_once(events)
    findings = Findings(trials=40, hits=sum(checker.starts(events).values()))
    findings.check(
        ended,
        checker.each("a worker holds ten jobs", held.items(), lambda item: item[1] == 10),
        checker.that("the other jobs stay pending", open_["pending"] == 20, open_.by_status),
        checker.each("never more than ten at once", most.items(), lambda item: item[1] <= 10),
        checker.started_once(checker.dump(lab.url), events),
    )
    return findings


def _busy_workers(lab: Lab) -> list[int]:
    return [row[0] for row in lab.sql("SELECT busy FROM jobq_worker")]


def most_at_once(events: list) -> dict[str, int]:
    """The largest number of handlers that ran at the same time, for each actor."""
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for event in events:
        running[event.actor] += {"start": 1, "end": -1}.get(event.event, 0)
        most[event.actor] = max(most[event.actor], running[event.actor])
    return dict(most)


LEASE = 3.0


@scenario("sqlite-saturation", codes=("F42",), databases=("sqlite",), full=100, quick=20, tiny=5)
def sqlite_saturation(lab: Lab) -> Findings:
    """Eight saturating workers on one SQLite file: no lease is lost, nobody fences itself."""
    seconds = lab.choose(full=60.0, quick=10.0, tiny=3.0)
    workers = lab.workers(lab.choose(full=8, quick=8, tiny=3), lease=LEASE)
    feeders = [lab.actor("backlog", f"feeder-{n}", least=2000, batch=500) for n in range(2)]
    lab.await_ready(feeders)
    counts, began = [_completed(lab)], time.monotonic()
    while time.monotonic() < began + seconds:
        time.sleep(1.0)
        counts.append(_completed(lab))
    took = time.monotonic() - began
    each_second = [after - before for before, after in pairwise(counts)]
    ended = [lab.stop(feeders), lab.stop(workers)]
    lab.histories.refresh()
    beats = [beat for beat in lab.histories.of("beat") if beat["op"] in ("heartbeat", "renew")]
    lost = lab.histories.of("lease_lost")
    rescues = lab.histories.of("changed", where=lambda event: event["verb"] == "rescue")
    complaints = lab.histories.of("log")
    crashed = lab.sql("SELECT id FROM jobq_job WHERE crash_count > 0")
    waits = sorted(beat["seconds"] for beat in beats)
    findings = Findings(trials=len(beats), hits=len([wait for wait in waits if wait > 0.001]))
    findings.check(
        *ended,
        checker.each("no lease is lost", lost, lambda _: False),
        checker.each("no job is rescued", [*rescues, *crashed], lambda _: False),
        checker.each("no worker complains", [e["text"] for e in complaints], lambda _: False),
        checker.each("jobs are done in each second", each_second, lambda jobs: jobs > 0),
    )
    findings.figures = {
        "jobs/s": round(sum(each_second) / took),
        "longest heartbeat ms": round(1000 * waits[-1]),
        "median ms": round(1000 * waits[len(waits) // 2], 1),
    }
    return findings


def _completed(lab: Lab) -> int:
    return lab.sql("SELECT count(*) FROM jobq_job WHERE status = 'completed'")[0][0]
