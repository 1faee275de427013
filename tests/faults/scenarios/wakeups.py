"""Hints: with the fall-back poll at one hour, every job still starts."""

from __future__ import annotations

import threading
from contextlib import closing

from tests.faults import checker
from tests.faults.actors import Actor
from tests.faults.app import connect
from tests.faults.lab import Findings, Lab, scenario

HOUR = 3600.0


def tireless_worker(lab: Lab, **options: object) -> Actor:
    """A worker that looks for jobs only when it is told to: by hints, nothing else."""
    worker = lab.worker(fallback=HOUR, lease=HOUR, **options)
    lab.await_ready([worker])
    lab.enqueue_many("step", [{}])
    lab.until_finished(timeout=30)
    return worker


@scenario("wake-ups", codes=("F25",), full=1000, quick=150, tiny=30)
def wake_ups(lab: Lab) -> Findings:
    """Jobs enqueued at random moments by another process: every one starts."""
    total = lab.choose(full=1000, quick=150, tiny=30)
    worker = tireless_worker(lab, concurrency=4)
    bursts = lab.actor("bursts", largest=12, gap=0.03)
    enqueued = 0
    while enqueued < total:
        bursts.go_on()
        lab.until(lambda before=enqueued: _from(lab, bursts) > before, 30, "a burst is stored")
        enqueued = _from(lab, bursts)
        lab.until_finished(timeout=20)
    ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings = Findings(trials=total, hits=enqueued)
    findings.check(ended, checker.all_completed(tables), checker.started_once(tables, events))
    return findings


def _from(lab: Lab, actor: Actor) -> int:
    lab.histories.refresh()
    mine = lab.histories.of("enqueued", where=lambda event: event.actor == actor.name)
    return sum(len(event["ids"]) for event in mine)


@scenario("wake-ups-in-transactions", codes=("F25",), full=100, quick=20, tiny=5)
def wake_ups_in_transactions(lab: Lab) -> Findings:
    """A is open, B commits, A rolls back (or commits): what was committed starts."""
    rounds = lab.choose(full=100, quick=20, tiny=5)
    worker = tireless_worker(lab, concurrency=4)
    rolled_back = []
    for _ in range(rounds):
        commits = lab.random.random() < 0.5
        with closing(connect(lab.url)) as a:
            a.execute("BEGIN")
            id = lab.queue.enqueue("step", {}, connection=a).id
            b = threading.Thread(target=lab.enqueue_many, args=("step", [{}]))
            b.start()
            if lab.is_postgres:  # on SQLite B waits for A
                b.join()
                if lab.random.random() < 0.5:
                    lab.queue.enqueue("step", {})
            a.execute("COMMIT" if commits else "ROLLBACK")
        b.join()
        if not commits:
            rolled_back.append(id)
        lab.until_finished(timeout=20)
    ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    started = checker.starts(events)
    findings = Findings(trials=rounds, hits=rounds)
    findings.check(
        ended,
        checker.all_completed(tables),
        checker.started_once(tables, events),
        checker.each(
            "what is rolled back never was",
            rolled_back,
            lambda job: job not in tables.jobs and not started[job],
        ),
    )
    return findings
