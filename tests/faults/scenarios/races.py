"""Many want the same: a key, a cancellation, a slot, a permit."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import Any

import jobq
from tests.faults import checker
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.scenarios.crashes import slowest_rescue
from tests.faults.victims import Victim
from tests.limits import windows

LEASE = 2.0


@scenario("unique-race", codes=("F38",), full=200, quick=20, tiny=3)
def unique_race(lab: Lab) -> Findings:
    """Many processes enqueue the same keys, some roll back: a key never has two live jobs."""
    processes = lab.choose(full=10, quick=4, tiny=2)
    keys = [f"key-{n}" for n in range(lab.choose(full=200, quick=20, tiny=3))]
    options: dict[str, Any] = {"threads": 5, "keys": keys}
    racers = [lab.actor("racer", f"racer-{n}", kind=Victim, **options) for n in range(processes)]
    lab.await_ready(racers)
    for racer in racers:
        racer.go_on()
    codes = [racer.wait(timeout=120)[0] for racer in racers]
    lab.histories.refresh()
    rows = lab.sql("SELECT unique_key, count(*) FROM jobq_job GROUP BY unique_key")
    stored = {str(row[0]) for row in lab.sql("SELECT id FROM jobq_job")}
    kept, undone = lab.histories.of("kept"), lab.histories.of("undone")
    named = defaultdict(set)
    for event in kept:
        named[event["key"]].add(event["job"])
    answers = processes * 5 * len(keys)
    findings = Findings(trials=answers, hits=sum(not event["created"] for event in kept))
    findings.check(
        checker.each("a racer ends well", codes, lambda code: code == 0),
        checker.that("each call had an answer", len(kept) + len(undone) == answers),
        checker.each("a key has one job", rows, lambda row: row[1] == 1),
        checker.each("what is rolled back never was", undone, lambda e: e["job"] not in stored),
        checker.each(
            "the creator's job is stored",
            [event for event in kept if event["created"]],
            lambda event: event["job"] in stored,
        ),
    )
    findings.figures = {"rolled back": len(undone), "refused as duplicates": findings.hits}
    return findings


@scenario("cancel-race", codes=("F39",), full=200, quick=30, tiny=5)
def cancel_race(lab: Lab) -> Findings:
    """Cancelled at any moment, a job ends once, as the caller was told."""
    rounds = lab.choose(full=10, quick=2, tiny=1)
    each = lab.choose(full=100, quick=60, tiny=20)
    worker = lab.worker(concurrency=20)
    lab.await_ready([worker])
    told: dict[str, str] = {}
    for _ in range(rounds):
        payloads = [
            {"seconds": lab.random.choice([0.0, lab.random.uniform(0.0, 0.3)])} for _ in range(each)
        ]
        jobs = lab.enqueue_many("step", payloads)
        threads = [
            threading.Thread(target=_cancel_some, args=(lab, jobs[n::4], told)) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lab.until_finished(timeout=60)
    ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    starts = checker.starts(events)
    findings = Findings(trials=len(told), hits=sum(one != "completed" for one in told.values()))
    findings.check(
        ended,
        checker.each("it ends as was told", told.items(), lambda one: _is_so(tables, *one)),
        checker.each("it is started at most once", starts.items(), lambda item: item[1] <= 1),
        checker.each(
            "it has one outcome at most", tables.attempts.values(), lambda ended: len(ended) <= 1
        ),
        checker.none_stuck(tables),
    )
    findings.figures = {
        answer: sum(one == answer for one in told.values()) for answer in sorted({*told.values()})
    }
    return findings


def _cancel_some(lab: Lab, jobs: list[str], told: dict[str, str]) -> None:
    for job in jobs:
        time.sleep(lab.random.uniform(0.0, 0.01))
        try:
            told[job] = str(lab.queue.cancel(job).status)
        except jobq.IllegalMove as error:
            told[job] = str(error.status)


def _is_so(tables: checker.Dump, job: str, told: str) -> bool:
    """A running job is asked to stop; it may end first."""
    expected = ("cancelled", "completed") if told == "processing" else (told,)
    return tables.jobs[job].status in expected


@scenario("slot-holder-killed", codes=("F37",), full=10, quick=3, tiny=1)
def slot_holder_killed(lab: Lab) -> Findings:
    """The worker that held the only slot of a limit dies: the slot is free when its lease ends."""
    rounds = lab.choose(full=10, quick=3, tiny=1)
    findings = Findings(trials=rounds)
    heir = lab.actor("worker", "heir", kind=Victim, lease=LEASE)
    for _ in range(rounds):
        holder = lab.actor("worker", "holder", kind=Victim, lease=LEASE)
        lab.await_ready([holder, heir])
        lab.freeze(heir)
        [held] = lab.enqueue_many("single", [{"seconds": 600.0}])
        lab.until_noted("start", 1, by=holder)
        others = lab.enqueue_many("single", [{}] * 3)
        holder.kill()
        lab.history.note("killed", worker=holder.name, wall=time.time())
        heir.thaw()
        lab.until_finished(timeout=30)
        findings.hits += checker.starts(lab.histories.refresh())[held] == 2 and len(others) == 3
    ended = lab.stop([heir])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    ran = [(e.at, {"start": 1, "end": -1}[e.event]) for e in events
           if e.event in ("start", "end") and e.actor == heir.name]  # fmt: skip
    slowest = slowest_rescue(lab, tables)
    findings.check(
        ended,
        checker.all_completed(tables),
        checker.starts_bounded(tables, events),
        checker.each("never two at once", _running(ran), lambda running: running <= 1),
        lab.in_time("it is free within the lease and 2 s", [slowest], LEASE + 2.0),
    )
    findings.figures = {"slowest rescue s": round(slowest, 1)}
    return findings


def _running(changes: list[tuple[float, int]]) -> list[int]:
    running, all_ = 0, []
    for _, change in changes:
        running += change
        all_.append(running)
    return all_


@scenario("limit-deleted", codes=("F35",), full=8, quick=3, tiny=1)
def limit_deleted(lab: Lab) -> Findings:
    """A limit changed at run time holds at once; one whose row is deleted is made again."""
    deletions = lab.choose(full=8, quick=3, tiny=1)
    workers = [lab.actor("worker", f"worker-{n}", kind=Victim, concurrency=30) for n in range(3)]
    lab.await_ready(workers)
    lab.enqueue_many("metered", [{}] * (25 * deletions + 60))
    lab.until_noted("start", 5)
    findings = Findings(trials=deletions + 1)
    row = "SELECT key FROM jobq_limit WHERE key = 'metered'"
    for _ in range(deletions):
        time.sleep(lab.random.uniform(0.5, 1.0))
        lab.until(lambda: lab.sql(row), 30, "the limit is there")
        findings.hits += 1
        lab.sql("DELETE FROM jobq_limit WHERE key = 'metered'")
    deleted_until = lab.now()
    time.sleep(1.0)
    lab.queue.set_limit(jobq.RateLimit("metered", 10, per=2))
    changed_at = time.time_ns()
    lab.until_finished(timeout=120)
    ended = lab.stop(workers)
    tables = checker.dump(lab.url)
    lab.histories.refresh()
    starts = [(event["ns"], 1) for event in lab.histories.of("start")]
    after = [(ns, units) for ns, units in starts if ns > changed_at + 1_000_000_000]
    findings.check(
        ended,
        checker.all_completed(tables),
        checker.started_once(tables, lab.histories.events),
        checker.that("jobs run under the new limit", len(after) > 10, len(after)),
        checker.that("the new limit holds", windows.fullest(after, 2) <= 10),
    )
    findings.figures = {
        "fullest window of 20 with deletions": windows.fullest(starts, 2),
        "fullest of 10": windows.fullest(after, 2),
        "seconds of deletions": round(deleted_until - lab.histories.of("start")[0].at, 1),
    }
    return findings
