"""Handlers that block the event loop."""

from __future__ import annotations

from tests.faults import checker
from tests.faults.lab import Findings, Lab, scenario

EXIT_BLOCKED = 70
HANDLER = "block (__main__.block)"


@scenario("frozen-loop", codes=("F31",), full=20, quick=4, tiny=2)
def frozen_loop(lab: Lab) -> Findings:
    """A handler that blocks the loop for three leases keeps its lease and completes once."""
    lease = lab.choose(full=2.0, quick=1.5, tiny=1.0)
    each = lab.choose(full=4, quick=2, tiny=2)
    options = {"lease": lease, "concurrency": each, "margin": 1.0}
    workers = lab.workers(lab.choose(full=5, quick=2, tiny=1), **options)
    jobs = each * len(workers)
    lab.enqueue_many("block", [{"seconds": 3 * lease}] * jobs)
    # While one blocks the loop, the others of its worker are held without having started.
    lab.until_noted("start", len(workers))
    neighbour = lab.worker("neighbour", lease=lease, margin=1.0)
    lab.until_finished(timeout=60)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    blocked = [e for e in lab.histories.of("log") if "the event loop has been blocked" in e["text"]]
    findings = Findings(trials=jobs, hits=jobs)
    findings.check(
        checker.all_completed(tables),
        checker.started_once(tables, events),
        checker.that("a worker says what blocks it", bool(blocked)),
        checker.that("it names the handler", all(HANDLER in e["text"] for e in blocked)),
        checker.each("no lease is lost", lab.histories.of("lease_lost"), lambda _: False),
        lab.stop([*workers, neighbour]),
    )
    return findings


@scenario("blocked-past-timeout", codes=("F31",), full=5, quick=1, tiny=1)
def blocked_past_timeout(lab: Lab) -> Findings:
    """A handler that blocks past its timeout ends the process, and its job runs elsewhere."""
    trials = lab.choose(full=5, quick=1, tiny=1)
    options = {"lease": 1.5, "concurrency": 1, "margin": 1.0}
    workers = lab.workers(trials, **options)
    lab.enqueue_many("block", [{"seconds": 600.0}] * trials, timeout=1.0)
    lab.until_noted("start", trials)
    heir = lab.worker("heir", **options)
    codes = [worker.wait(timeout=30)[0] for worker in workers]
    lab.until_finished(timeout=60)
    ended = lab.stop([heir])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    last_words = [e["text"] for e in lab.histories.of("log") if e["level"] == "CRITICAL"]
    findings = Findings(trials=trials, hits=codes.count(EXIT_BLOCKED))
    findings.check(
        ended,
        checker.each("the process ends with 70", codes, lambda code: code == EXIT_BLOCKED),
        checker.that("each names its handler", len(last_words) == trials, last_words),
        checker.each("the name is in it", last_words, lambda text: HANDLER in text),
        checker.all_completed(tables),
        checker.each("by the heir", tables.jobs.values(), lambda job: job.result == heir.name),
        checker.starts_bounded(tables, events),
    )
    return findings
