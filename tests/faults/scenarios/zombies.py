"""Late writes: by workers whose jobs were moved by hand, by those that ask twice, by the dead."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.faults import checker
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.scenarios.crashes import unfinished
from tests.faults.victims import Victim

LEASE = 2.0


@scenario("killed-before-flush", codes=("F2",), full=20, quick=3, tiny=1)
def killed_before_flush(lab: Lab) -> Findings:
    """A worker dies when handlers have succeeded but nothing is written: those jobs run again."""
    doomed = [
        lab.actor("victim", f"doomed-{n}", kind=Victim, lease=LEASE, failpoint="flush")
        for n in range(lab.choose(full=15, quick=3, tiny=1))
    ]
    lab.await_ready(doomed)
    lab.enqueue_many("step", [{"seconds": 0.1}] * (10 * len(doomed)))
    for worker in doomed:
        worker.wait(timeout=60)
    heir = lab.worker("heir", lease=LEASE)
    lab.until_finished(timeout=60)
    ended = lab.stop([heir])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    dying = [job for event in lab.histories.of("dying") for job in event["jobs"]]
    starts = checker.starts(events)
    findings = Findings(trials=len(doomed), hits=len(dying))
    findings.check(
        ended,
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.each("an unwritten success runs again", dying, lambda job: starts[job] >= 2),
        checker.each("and its outcome is the heir's", dying, _result_of(tables, heir.name)),
        checker.starts_bounded(tables, events),
    )
    return findings


def _result_of(tables: checker.Dump, name: str) -> Callable[[str], bool]:
    return lambda job: tables.jobs[job].result == name


BY_HAND = ("cancel", "complete", "fail", "delete", "retry", "again")


@scenario("zombie-moved-by-hand", codes=("F7",), full=24, quick=6, tiny=6)
def zombie_moved_by_hand(lab: Lab) -> Findings:
    """What a person did to a frozen worker's jobs stands when that worker wakes up."""
    each = lab.choose(full=4, quick=1, tiny=1)
    trials = 2 * each * len(BY_HAND)
    frozen = lab.actor("worker", "zombie", kind=Victim, lease=LEASE, concurrency=trials)
    lab.await_ready([frozen])
    late = lab.enqueue_many("tarry_in_thread", [{"zombie": 1.0}] * (trials // 2))
    endless = lab.enqueue_many("tarry", [{"zombie": 600.0}] * (trials // 2))
    lab.until_noted("start", trials)
    lab.freeze(frozen)
    jobs = [*late, *endless]
    for number, job in enumerate(jobs):
        _move_by_hand(lab, job, BY_HAND[number % len(BY_HAND)])
    heir = lab.actor("worker", "heir", kind=Victim, lease=LEASE)
    lab.until_finished(timeout=30)
    before = _standing(lab)
    frozen.thaw()
    lab.until_noted("lease_lost", trials, by=frozen)
    [extra] = lab.enqueue_many("step", [{}])
    lab.until_finished(timeout=30)
    after = _standing(lab)
    ended = lab.stop([heir, frozen])
    events = lab.histories.refresh()
    refused = {
        e["job"] for e in lab.histories.of("lease_lost", where=lambda e: e.actor == frozen.name)
    }
    told = {e["job"] for e in events if e.event == "told" and e.actor == frozen.name}
    findings = Findings(trials=trials, hits=len(refused))
    findings.check(
        ended,
        checker.each("each late outcome is refused", jobs, refused.__contains__),
        checker.each("a running handler is told", endless, told.__contains__),
        checker.each("no row changes", jobs, lambda job: before.get(job) == after.get(job)),
        checker.each(
            "it is as it was left by hand",
            enumerate(jobs),
            lambda item: _is_as_left(
                before.get(item[1]), BY_HAND[item[0] % len(BY_HAND)], heir.name
            ),
        ),
        checker.that("the zombie or the heir works on", after[extra][0] == "completed"),
    )
    return findings


def _move_by_hand(lab: Lab, job: str, how: str) -> None:
    match how:
        case "cancel":
            lab.queue.cancel(job)
        case "complete":
            lab.queue.set_status(job, "completed", result="by hand")
        case "fail":
            lab.queue.set_status(job, "failed", error="by hand", error_code="by_hand")
        case "delete":
            lab.queue.set_status(job, "cancelled")
            lab.queue.delete(job)
        case "retry":
            lab.queue.retry(job)
        case "again":
            lab.queue.set_status(job, "pending")


def _standing(lab: Lab) -> dict[str, tuple[object, ...]]:
    tables = checker.dump(lab.url)
    return {
        job.id: (job.status, job.result, job.error_code, job.attempts)
        for job in tables.jobs.values()
    }


def _is_as_left(row: tuple[object, ...] | None, how: str, heir: str) -> bool:
    match how:
        case "delete":
            return row is None
        case "cancel":
            return row is not None and row[0] == "cancelled"
        case "complete":
            return row is not None and row[:2] == ("completed", "by hand")
        case "fail":
            return row is not None and (row[0], row[2]) == ("failed", "by_hand")
    return row is not None and row[:2] == ("completed", heir)


@scenario("same-attempt-number", codes=("F8",), full=20, quick=4, tiny=2)
def same_attempt_number(lab: Lab) -> Findings:
    """An outcome written twice after its attempt was given back leaves the next attempt alone."""
    each = lab.choose(full=10, quick=2, tiny=1)
    doubling = lab.actor(
        "victim", "doubling", kind=Victim, failpoint="double", concurrency=2 * each
    )
    lab.await_ready([doubling])
    jobs = lab.enqueue_many(
        "puts_off", [{"how": how, "seconds": 4.0} for how in ("snooze", "limit")] * each
    )
    lab.until_noted("start", len(jobs), by=doubling)
    lab.until(lambda: _written(lab, "written") == set(jobs), 30, "all outcomes are written once")
    heir = lab.actor("worker", "heir", kind=Victim, concurrency=2 * each)
    lab.until_noted("start", len(jobs), by=heir)
    numbers = lab.sql("SELECT attempts FROM jobq_job WHERE status = 'processing'")
    doubling.go_on()
    lab.until(lambda: _written(lab, "written_again") == set(jobs), 30, "and once more")
    running = lab.sql("SELECT count(*) FROM jobq_job WHERE status = 'processing'")[0][0]
    lab.until_finished(timeout=60)
    ended = lab.stop([heir, doubling])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    starts = checker.starts(e for e in events if e.actor == heir.name)
    put_off = {
        id: [a for a in ended if a.outcome != "completed"] for id, ended in tables.attempts.items()
    }
    findings = Findings(trials=len(jobs), hits=running)
    findings.check(
        ended,
        checker.each("both attempts have number 1", numbers, lambda row: row[0] == 1),
        checker.all_completed(tables),
        checker.each("by the heir", tables.jobs.values(), lambda job: job.result == heir.name),
        checker.each("which started it once", jobs, lambda job: starts[job] == 1),
        checker.each("it is put off once", jobs, lambda job: len(put_off[job]) == 1),
    )
    return findings


def _written(lab: Lab, event: str) -> set[str]:
    lab.histories.refresh()
    return {job for one in lab.histories.of(event) for job in one["jobs"]}


@scenario("sigkill-in-grace", codes=("F5",), full=20, quick=3, tiny=1)
def sigkill_in_grace(lab: Lab) -> Findings:
    """A supervisor that kills a worker within its grace loses nothing: its jobs run elsewhere."""
    rounds = lab.choose(full=4, quick=1, tiny=1)
    findings = Findings()
    killed = []
    for _ in range(rounds):
        lab.enqueue_many("step", [{"seconds": 600.0, "again": 0.0}] * 5)
        lab.enqueue_many("step_in_thread", [{"seconds": 600.0, "again": 0.0}] * 5)
        worker = lab.worker(lease=LEASE, concurrency=10, grace=60.0)
        lab.until_noted("start", 10, by=worker)
        worker.signal(signal.SIGTERM)
        time.sleep(0.5)
        findings.hits += len(unfinished(lab.histories.refresh(), worker.name))
        killed.append((worker.alive, worker.name))
        worker.kill()
        heir = lab.worker("heir", lease=LEASE)
        lab.until_finished(timeout=60)
        findings.check(lab.stop([heir]))
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings.trials = rounds
    findings.check(
        checker.each("it was within its grace", killed, lambda one: one[0]),
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.none_leased(tables),
        checker.starts_bounded(tables, events),
    )
    return findings
