"""Processes that end without closing their queue, or fork with it open."""

from __future__ import annotations

from tests.faults import checker
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.scenarios.disk import integrity
from tests.faults.scenarios.wakeups import tireless_worker


@scenario("unclosed", codes=("F45",), full=20, quick=4, tiny=2)
def unclosed(lab: Lab) -> Findings:
    """A process whose queue nobody closed exits at once, quietly, and its jobs start."""
    worker = tireless_worker(lab)
    findings = Findings()
    exits = [
        _one_exit(lab, findings, face, jobs)
        for _ in range(lab.choose(full=5, quick=1, tiny=1))
        for face in ("Queue", "AsyncQueue")
        for jobs in lab.choose(full=(0, 2), quick=(0, 2), tiny=(2,))
    ]
    lab.until_finished(timeout=20)
    findings.trials = findings.hits = len(exits)
    findings.check(
        lab.stop([worker]),
        checker.all_completed(checker.dump(lab.url)),
        lab.in_time("it ends at once", exits, 3.0),
    )
    findings.figures = {"slowest exit s": round(max(exits), 2)}
    return findings


def _one_exit(lab: Lab, findings: Findings, face: str, jobs: int) -> float:
    """Play it once; the seconds from the end of the program to the end of the process."""
    process = lab.actor("unclosed", face=face, jobs=jobs)
    for number in range(jobs):
        lab.until_noted("enqueued", number + 1, by=process)
        if number == 0:
            lab.until_finished(timeout=20)  # from now on the worker sleeps
        process.go_on()
    code, _ = process.wait(timeout=60)
    ended_at = lab.now()
    lab.histories.refresh()
    [used] = lab.histories.of("used", where=lambda event: event.actor == process.name)
    findings.check(
        checker.that(f"{face}: it ends with code 0", code == 0, code),
        checker.that(f"{face}: it says nothing", not process.errors(), process.errors()[-300:]),
    )
    return ended_at - used.at


@scenario("fork", codes=("F45",), full=20, quick=3, tiny=1)
def fork(lab: Lab) -> Findings:
    """A forked child and its parent use the queue that the parent had open, at the same time."""
    trials = lab.choose(full=20, quick=4, tiny=1)
    findings = Findings(trials=trials, hits=trials)
    jobs = 20
    for _ in range(trials):
        parent = lab.actor("forking", jobs=jobs)
        code, _ = parent.wait(timeout=60)
        lab.histories.refresh()
        [child] = lab.histories.of("child_ended", where=lambda e, p=parent: e.actor == p.name)
        findings.check(
            checker.that("the parent ends well", code == 0, parent.errors()[-300:]),
            checker.that("so does the child", child["code"] == 0, parent.errors()[-300:]),
        )
    worker = lab.worker()
    lab.until_finished(timeout=60)
    ended = lab.stop([worker])
    tables = checker.dump(lab.url)
    acknowledged = lab.acknowledged()
    findings.check(
        ended,
        checker.none_lost(tables, acknowledged),
        checker.that(
            "every enqueue was acknowledged", len(acknowledged) == trials * (3 * jobs + 3)
        ),
        checker.started_once(tables, lab.histories.refresh()),
    )
    if not lab.is_postgres:
        findings.check(integrity(lab.url))
    return findings
