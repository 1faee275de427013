"""Handlers that do not stop, and handlers that stop everything."""

from __future__ import annotations

import time
from typing import Any

from tests.faults import checker
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.victims import Victim

LEASE = 2.0


@scenario("stubborn", codes=("F32",), full=20, quick=3, tiny=2)
def stubborn(lab: Lab) -> Findings:
    """A handler that ignores its cancellation loses its job at the deadline; others get slots."""
    each = lab.choose(full=10, quick=2, tiny=1)
    slots = ["--concurrency", str(3 * each + 1), "--threads", str(3 * each + 1)]
    arguments = [*slots, "--grace", "0.5", "--lease", str(LEASE)]
    worker = lab.actor("command", "worker", kind=Victim, arguments=arguments)
    lab.await_ready([worker])
    limits: dict[str, Any] = {"timeout": 0.5, "max_attempts": 2}
    bad = lab.enqueue_many("stubborn", [{}] * each, **limits)
    bad += lab.enqueue_many("stubborn_in_thread", [{}] * each, **limits)
    lab.until_noted("start", len(bad), by=worker)
    good = lab.enqueue_many("step", [{}] * 20)
    lab.until_finished(timeout=60)
    worker.terminate()
    code, seconds = worker.wait(timeout=30)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    said = [e["text"] for e in lab.histories.of("log") if "ignores its cancellation" in e["text"]]
    findings = Findings(trials=len(bad), hits=len(said))
    starts = checker.starts(events)
    findings.check(
        checker.each("others complete", good, lambda job: tables.jobs[job].status == "completed"),
        checker.each("it is tried again", bad, lambda job: starts[job] == 2),
        checker.each(
            "that one's outcome stands", bad, lambda job: tables.jobs[job].status == "completed"
        ),
        checker.none_leased(tables),
        checker.that("the process ends", code in (0, 1, 70), code),
        lab.in_time("within the grace and what closing takes", [seconds], 10.0),
    )
    findings.figures = {"exit code": code, "exit s": round(seconds, 1)}
    return findings


@scenario("every-slot-hangs", codes=("F32", "F46"), full=3, quick=1, tiny=1)
def every_slot_hangs(lab: Lab) -> Findings:
    """A worker whose slots are all taken by handlers that hang ends loudly, and others go on."""
    trials = lab.choose(full=3, quick=1, tiny=1)
    findings = Findings(trials=trials)
    for _ in range(trials):
        arguments = ["--concurrency", "2", "--lease", str(LEASE)]
        worker = lab.actor("command", "hanging", kind=Victim, arguments=arguments)
        lab.await_ready([worker])
        lab.enqueue_many("stubborn", [{}] * 2, timeout=0.5, max_attempts=3)
        code, _ = worker.wait(timeout=30)
        findings.hits += code != 0
        heir = lab.actor("worker", "heir", kind=Victim, lease=LEASE)
        lab.until_finished(timeout=60)
        findings.check(
            lab.stop([heir]),
            checker.that("it ends with an error", code != 0, code),
            checker.that("and says why", "every slot is taken" in worker.errors()),
        )
    findings.check(checker.all_completed(checker.dump(lab.url)))
    return findings


@scenario("held-interpreter", codes=("F33",), full=20, quick=3, tiny=2)
def held_interpreter(lab: Lab) -> Findings:
    """A C call that keeps the interpreter past the lease costs that lease, and nothing else."""
    count = lab.choose(full=20, quick=3, tiny=2)
    workers = [
        lab.actor("worker", f"holding-{n}", kind=Victim, lease=LEASE, concurrency=1)
        for n in range(count)
    ]
    lab.await_ready(workers)
    lab.enqueue_many("hold_interpreter", [{"seconds": 2.5 * LEASE}] * count)
    lab.until_noted("start", count)
    heir = lab.actor("worker", "heir", kind=Victim, lease=LEASE)
    lab.until_finished(timeout=60)
    lab.until_noted("lease_lost", count)
    again = lab.enqueue_many("step", [{}] * 10)
    lab.until_finished(timeout=30)
    ended = lab.stop([*workers, heir], timeout=60)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    lost = lab.histories.of("lease_lost")
    held = [job for job in tables.jobs.values() if job.type == "hold_interpreter"]
    findings = Findings(trials=count, hits=len({event["job"] for event in lost}))
    findings.check(
        ended,
        checker.all_completed(tables),
        checker.each("the heir's outcome stands", held, lambda job: job.result == heir.name),
        checker.each("work goes on", again, lambda job: tables.jobs[job].status == "completed"),
        checker.starts_bounded(tables, events),
    )
    return findings


@scenario("function-killed", codes=("F34",), full=20, quick=3, tiny=1)
def function_killed(lab: Lab) -> Findings:
    """A platform kills or freezes a function in the middle of a job: its next call goes on."""
    rounds = lab.choose(full=12, quick=2, tiny=1)
    budget = 1.0
    findings = Findings(trials=rounds)
    late = []
    for number in range(rounds):
        jobs = lab.enqueue_many("step", [{"seconds": 600.0, "again": 0.0}] * 3)
        options: dict[str, Any] = {"seconds": budget, "lease": LEASE, "concurrency": 3}
        call = lab.actor("function", "call", kind=Victim, **options)
        lab.until_noted("start", 3, by=call)
        spent = _began(lab, call.name) + budget
        if number % 2:
            lab.freeze(call)
            _await_leases(lab, jobs)
        time.sleep(max(0.0, spent - lab.now()))
        more = lab.enqueue_many("step", [{}])
        lab.history.note("late", jobs=more)
        late += more
        findings.hits += 3
        call.kill()
        _await_leases(lab, jobs)
        last = lab.actor("function", "last", kind=Victim, **{**options, "seconds": 10.0})
        code, _ = last.wait(timeout=30)
        findings.check(checker.that("a call ends well", code == 0, last.errors()[-300:]))
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    by_killed = {e["job"] for e in events if e.event == "start" and e.actor.startswith("call")}
    findings.check(
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.starts_bounded(tables, events),
        checker.each("nothing starts past the budget", late, lambda job: job not in by_killed),
    )
    return findings


def _began(lab: Lab, name: str) -> float:
    lab.histories.refresh()
    [ready] = lab.histories.of("ready", where=lambda event: event.actor == name)
    return float(ready.at)


def _await_leases(lab: Lab, jobs: list[str]) -> None:
    """Wait until these jobs' leases have ended."""
    now = "now()" if lab.is_postgres else "(julianday('now') - 2440587.5) * 86400000000"
    ids = ", ".join(f"'{job}'" for job in jobs)
    sql = f"SELECT count(*) FROM jobq_job WHERE id IN ({ids}) AND lease_until > {now}"
    lab.until(lambda: lab.sql(sql) == [(0,)], 30, "the leases end")
