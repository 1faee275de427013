"""Workers that die, and workers that come back from the dead."""

from __future__ import annotations

import time

from tests.faults import checker
from tests.faults.actors import Actor
from tests.faults.history import Event
from tests.faults.lab import Findings, Lab, scenario

LEASE = 3.0
CHILDHOOD = 1.0


@scenario("kill", codes=("F1",), in_quick=True, full=20, quick=3, tiny=1)
def kill(lab: Lab) -> Findings:
    """Workers are killed at random: every job is completed, none is lost, none is stuck."""
    options = {"lease": lab.choose(full=LEASE, quick=2.0, tiny=1.5), "concurrency": 8}
    workers = lab.workers(lab.choose(full=4, quick=3, tiny=2), **options)
    enqueuer = lab.actor("enqueuer", seconds=0.2, gap=0.1)
    lab.await_ready([enqueuer])
    _kill_at_random(lab, workers, options)
    ended = [lab.stop([enqueuer])]
    lab.until_finished(timeout=120)
    ended.append(lab.stop(workers))
    return _after_kills(lab, ended)


def _kill_at_random(lab: Lab, workers: list[Actor], options: dict) -> None:
    """Kill one or the other that is at work, and start another in its place."""
    until = time.monotonic() + lab.choose(full=30.0, quick=4.0, tiny=0.0)
    kills = 0
    while time.monotonic() < until or kills < lab.choose(full=25, quick=4, tiny=2):
        _keep_busy(lab)
        time.sleep(lab.random.uniform(0.3, 1.0))
        index = lab.until(lambda: _at_work(lab, workers), 30, "a worker is at work") - 1
        workers[index].kill()
        lab.history.note("killed", worker=workers[index].name, wall=time.time())
        workers[index] = lab.worker(f"worker-{index}", **options)
        kills += 1


def _at_work(lab: Lab, workers: list[Actor]) -> int:
    """The number, from 1, of a worker that has jobs running at this moment; 0 if none has.

    Not one that has hardly begun: if none lived, none would rescue.
    """
    events = lab.histories.refresh()
    grown = {e.actor for e in lab.histories.of("ready") if e.at < lab.now() - CHILDHOOD}
    alive = [(n, worker.name) for n, worker in enumerate(workers, 1) if worker.name in grown]
    busy = [n for n, name in alive if unfinished(events, name)]
    return lab.random.choice(busy) if busy else 0


def _keep_busy(lab: Lab) -> None:
    count = lab.choose(full=200, quick=100, tiny=20)
    if lab.queue.counts()["pending"] < 2 * count:
        for type in ("step", "step_in_thread"):
            lab.enqueue_many(type, ({"seconds": lab.random.uniform(0, 0.4)} for _ in range(count)))


def _after_kills(lab: Lab, ended: list[checker.Check]) -> Findings:
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    killed = {event["worker"] for event in lab.histories.of("killed")}
    ids = {e["worker"] for e in lab.histories.of("ready") if e.actor in killed}
    cut_short = {name: unfinished(events, name) for name in killed}
    hits = [name for name, jobs in cut_short.items() if jobs]
    findings = Findings(trials=len(killed), hits=len(hits))
    findings.check(
        *ended,
        checker.none_lost(tables, lab.acknowledged()),
        checker.none_stuck(tables),
        checker.none_unexpected(tables, events),
        checker.starts_bounded(tables, events),
        checker.failures_are_kills(tables, ids),
        checker.few_failed(tables),
    )
    findings.figures = {
        "jobs": len(tables.jobs),
        "cut short": sum(map(len, cut_short.values())),
        "rescues": checker.rescues(tables),
        "failed": len(tables.having("failed")),
        "slowest rescue s": round(slowest_rescue(lab, tables), 1),
    }
    return findings


def unfinished(events: list[Event], actor: str) -> set[str]:
    """The jobs whose handler an actor has started and not ended."""
    mine = [event for event in events if event.actor == actor]
    ended = {event["job"] for event in mine if event.event == "end"}
    return {event["job"] for event in mine if event.event == "start"} - ended


def slowest_rescue(lab: Lab, tables: checker.Dump) -> float:
    """The longest time from a worker's death to the rescue of a job that it held."""
    died = {event["worker"]: event["wall"] for event in lab.histories.of("killed")}
    names = {
        event["worker"]: event.actor
        for event in lab.histories.of("ready")
        if "worker" in event.facts
    }
    slowest = 0.0
    for attempts in tables.attempts.values():
        for attempt in filter(checker.is_crash, attempts):
            death = died.get(names.get(attempt.worker))
            if death is not None:
                slowest = max(slowest, float(attempt.ended_at) - death)
    return slowest


@scenario("zombie", codes=("F6",), in_quick=True, full=20, quick=8, tiny=4)
def zombie(lab: Lab) -> Findings:
    """A worker frozen past its lease cannot overwrite the new owner's outcome, and is told."""
    each = lab.choose(full=10, quick=2, tiny=1)
    lease = lab.choose(full=LEASE, quick=1.5, tiny=1.5)
    lab.sql("DROP TABLE IF EXISTS app_row")
    lab.sql("CREATE TABLE app_row (job text, worker text)")
    jobs = each * 4
    frozen = lab.worker("zombie", lease=lease, concurrency=jobs)
    lab.await_ready([frozen])
    # It ends while the worker is frozen, so its outcome is the first thing that the zombie
    # writes; at that moment the heir is still at work on the same job.
    late = lab.enqueue_many("step_in_thread", [{"seconds": lease, "again": 3 * lease}] * each)
    # It would go on for long and has to be told; the heir has completed it by then.
    endless = lab.enqueue_many("step", [{"seconds": 600.0, "again": 0.0}] * each)
    # Threads go on when they are ordered to: the zombie's first.
    in_thread = lab.enqueue_many("late_in_thread", [{}] * each)
    commits = lab.enqueue_many("late_commit", [{}] * each)
    lab.until_noted("start", jobs)
    lab.freeze(frozen)
    heir = lab.worker("heir", lease=lease, concurrency=jobs)
    lab.until_noted("start", jobs, by=heir)
    frozen.thaw()
    lab.until_noted("lease_lost", len(late) + len(endless), by=frozen)
    frozen.go_on()
    lab.until_noted("lease_lost", jobs, by=frozen)
    heir.go_on()
    lab.until_finished(timeout=60)
    ended = [lab.stop([heir])]
    [again] = lab.enqueue_many("step", [{}])
    lab.until_finished(timeout=60)
    ended.append(lab.stop([frozen]))
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    told = {e["job"] for e in events if e.event == "told" and e.actor == frozen.name}
    rows = lab.sql("SELECT job, worker FROM app_row")
    refused = lab.histories.of("lease_lost", where=lambda e: e.actor == frozen.name)
    findings = Findings(trials=jobs, hits=len(refused))
    results = [tables.jobs[id] for id in [*late, *endless, *in_thread, *commits]]
    findings.check(
        *ended,
        checker.all_completed(tables),
        checker.each("the heir's outcome stands", results, lambda job: job.result == heir.name),
        checker.each(
            "a running handler is told", [*endless, *in_thread, *commits], told.__contains__
        ),
        checker.each("a zombie's rows vanish", rows, lambda row: row[1] == heir.name),
        checker.that(
            "the heir's rows are there", sorted(r[0] for r in rows) == sorted(commits), rows
        ),
        checker.that("the zombie works on", tables.jobs[again].result == frozen.name),
        checker.starts_bounded(tables, events),
    )
    return findings
