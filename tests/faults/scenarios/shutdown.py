"""Workers that are asked to end."""

from __future__ import annotations

import signal
import time

from tests.faults import checker
from tests.faults.checker import Check
from tests.faults.history import Event
from tests.faults.lab import Findings, Lab, scenario

SIGNALS = (
    (signal.SIGINT,),
    (signal.SIGTERM,),
    (signal.SIGTERM, signal.SIGTERM),
)
GRACE = 2.0


@scenario("sigterm", codes=("F4", "F5"), in_quick=True, full=20, quick=10, tiny=3)
def sigterm(lab: Lab) -> Findings:
    """SIGTERM in the middle of a batch uses no attempt and leaves nothing leased."""
    findings = Findings()
    slowest = 0.0
    for signals in lab.choose(full=SIGNALS, quick=SIGNALS[1:], tiny=SIGNALS[1:]):
        seconds = _one_shutdown(lab, findings, signals)
        slowest = max(slowest, seconds)
    findings.figures = {"slowest exit s": round(slowest, 1)}
    return findings


def _one_shutdown(lab: Lab, findings: Findings, signals: tuple[signal.Signals, ...]) -> float:
    slots = lab.choose(full=30, quick=15, tiny=9)
    at_once = len(signals) > 1
    grace = 60.0 if at_once else GRACE
    short = lab.enqueue_many("step", [{"seconds": 1.0}] * (slots // 3), priority=1)
    long = lab.enqueue_many("step", [{"seconds": 600.0}] * (slots // 3))
    threads = lab.enqueue_many("step_in_thread", [{"seconds": 30.0}] * (slots - 2 * (slots // 3)))
    unstarted = lab.enqueue_many("step", [{}] * slots, priority=-1)
    arguments = ["--concurrency", str(slots), "--grace", str(grace)]
    worker = lab.actor("command", "worker", arguments=arguments)
    lab.until_noted("start", slots, by=worker)
    for number in signals:
        worker.signal(number)
        time.sleep(0.1)  # two signals at the same time are one
    code, seconds = worker.wait(timeout=90)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    given_back = [tables.jobs[id] for id in long + threads]
    findings.trials += slots
    findings.hits += len(given_back)
    bound = 0.0 if at_once else grace
    findings.check(
        checker.that("the exit code is 0", code == 0, (signals, code)),
        lab.in_time("it ends within the grace and 2 s", [seconds], bound + 2.0),
        checker.none_leased(tables),
        checker.each("a job cut short is pending again", given_back, checker.is_untouched),
        checker.each("and its release is counted", given_back, lambda job: job.released_count == 1),
        _not_started(events, unstarted),
        checker.each(
            "no attempt is used", [tables.jobs[id] for id in unstarted], checker.is_untouched
        ),
    )
    if not at_once:
        ended = [tables.jobs[id] for id in short]
        findings.check(
            checker.each("a short job is completed", ended, lambda job: job.status == "completed")
        )
    lab.queue.cancel_where()
    return seconds


def _not_started(events: list[Event], ids: list[str]) -> Check:
    started = checker.starts(events)
    return checker.each("nothing is claimed after the signal", ids, lambda job: not started[job])
