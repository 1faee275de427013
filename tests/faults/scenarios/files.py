"""Processes that are killed while they write, copies of files in use, processes in families."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.faults import checker
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.scenarios.disk import integrity
from tests.faults.victims import Victim


@scenario(
    "killed-while-writing",
    codes=("F44",),
    databases=("sqlite",),
    in_quick=True,
    full=500,
    quick=20,
    tiny=5,
)
def killed_while_writing(lab: Lab) -> Findings:
    """Killed at any moment, a process leaves a sound file with all that was acknowledged."""
    kills = lab.choose(full=500, quick=20, tiny=5)
    hammer = lab.actor("hammer", kind=Victim, kills=kills, longest=0.15)
    code, _ = hammer.wait(timeout=600)
    acknowledged = lab.acknowledged()
    stored = {str(row[0]) for row in lab.sql("SELECT id FROM jobq_job")}
    worker = lab.worker(concurrency=50)
    lab.until_finished(timeout=120)
    ended = lab.stop([worker])
    found = [event["found"] for event in lab.histories.of("killed")]
    tables = checker.dump(lab.url)
    findings = Findings(trials=kills, hits=len(found))
    findings.check(
        ended,
        checker.that("the killer ends well", code == 0, hammer.errors()[-300:]),
        checker.each("the file is sound", found, lambda text: text == "ok"),
        checker.each("what was acknowledged is stored", acknowledged, stored.__contains__),
        checker.none_stuck(tables),
        checker.few_failed(tables),
        integrity(lab.url),
    )
    findings.figures = {"jobs": len(stored), "acknowledged": len(acknowledged)}
    return findings


@scenario("copied-live", codes=("F44",), databases=("sqlite",), full=20, quick=5, tiny=2)
def copied_live(lab: Lab) -> Findings:
    """A backup made while workers write is sound, its jobs can be run, and nobody is disturbed."""
    copies = lab.choose(full=20, quick=5, tiny=2)
    workers = lab.workers(2, lease=3.0)
    feeder = lab.actor("backlog", "feeder", least=100, batch=50)
    lab.until(lambda: lab.queue.counts()["completed"] > 0, 30, "jobs run")
    findings = Findings(trials=copies)
    url = ""
    for number in range(copies):
        target = f"{lab.folder / f'copy-{number}'}.db"
        with closing(sqlite3.connect(lab.url.removeprefix("sqlite:///"), timeout=30)) as source:
            source.execute("VACUUM INTO ?", (target,))
        url = f"sqlite:///{target}"
        findings.check(integrity(url))
        findings.hits += checker.query(url, "SELECT count(*) > 0 FROM jobq_job") == [(1,)]
    ended = [lab.stop([feeder])]
    lab.until_finished(timeout=60)
    ended.append(lab.stop(workers))
    with Lab(url, lab.folder, lab.size) as copy:
        worker = copy.worker("on-copy", lease=1.0)
        copy.await_ready([worker])
        copy.until_finished(timeout=60)
        ended.append(copy.stop([worker]))
    findings.check(
        *ended,
        checker.each("no lease is lost", lab.histories.of("lease_lost"), lambda _: False),
        checker.all_completed(checker.dump(lab.url)),
        checker.none_stuck(checker.dump(url)),
    )
    return findings


@scenario("spawned", codes=("F45",), full=10, quick=2, tiny=1)
def spawned(lab: Lab) -> Findings:
    """Children that are spawned, or forked by a server, and threads use queues at the same time."""
    methods = lab.choose(
        full=("spawn", "forkserver") * 5, quick=("spawn", "forkserver"), tiny=("spawn",)
    )
    jobs = 10
    findings = Findings(trials=len(methods), hits=len(methods))
    for method in methods:
        parent = lab.actor("spawning", kind=Victim, method=method, jobs=jobs)
        code, _ = parent.wait(timeout=60)
        lab.histories.refresh()
        *_, children = lab.histories.of("children", where=lambda e: "codes" in e.facts)
        findings.check(
            checker.that("the parent ends well", code == 0, parent.errors()[-300:]),
            checker.that("so do its children", children["codes"] == [0], parent.errors()[-300:]),
        )
    worker = lab.worker()
    lab.until_finished(timeout=60)
    ended = lab.stop([worker])
    tables = checker.dump(lab.url)
    expected = len(methods) * (4 * jobs + 1)
    findings.check(
        ended,
        checker.that("each was acknowledged", len(lab.acknowledged()) == expected),
        checker.none_lost(tables, lab.acknowledged()),
        checker.started_once(tables, lab.histories.refresh()),
    )
    return findings
