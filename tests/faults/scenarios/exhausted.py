"""Processes without descriptors or memory."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.faults import checker
from tests.faults.actors import Actor
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.scenarios.disk import _after
from tests.faults.victims import Victim

LEASE = 3.0


@scenario("no-descriptors", codes=("F46",), full=10, quick=2, tiny=1)
def no_descriptors(lab: Lab) -> Findings:
    """A worker without descriptors complains or ends with an error; with them again all goes on."""
    return _starve(lab, resource.RLIMIT_NOFILE, lambda _: 3)


@scenario("no-memory", codes=("F46",), full=10, quick=2, tiny=1)
def no_memory(lab: Lab) -> Findings:
    """A worker without memory goes on, complains, or ends with an error; jobs are not lost."""
    return _starve(lab, resource.RLIMIT_AS, _size)


def _size(worker: Actor) -> int:
    """The bytes of address space that a process has."""
    pages = int(Path(f"/proc/{worker.process.pid}/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _starve(lab: Lab, kind: int, least: Callable[[Actor], int]) -> Findings:
    rounds = lab.choose(full=10, quick=2, tiny=1)
    findings = Findings(trials=rounds)
    worker = lab.actor("worker", "worker", kind=Victim, lease=LEASE, threads=4)
    lab.await_ready([worker])
    complaints = deaths = 0
    for _ in range(rounds):
        before = resource.prlimit(worker.process.pid, kind)
        resource.prlimit(worker.process.pid, kind, (least(worker), before[1]))
        starved_at = lab.now()
        _cut_connections(lab)
        for type in ("step", "step_in_thread"):
            lab.enqueue_many(type, [{"seconds": 0.1, "x": "x" * 100_000}] * 10, max_attempts=20)
        lab.enqueue_many("needy", [{"bytes": 256 << 20}] * 5, max_attempts=20)
        time.sleep(2.0)
        lab.histories.refresh()
        complaints += len(lab.histories.of("log", where=_after(starved_at)))
        if worker.alive:
            resource.prlimit(worker.process.pid, kind, before)
        lab.until(partial(_ends, lab, worker), 60, "the jobs end, or the worker does")
        if not worker.alive:
            deaths += 1
            findings.check(
                checker.that("it ends with an error", worker.process.returncode != 0),
                checker.that("and says something", bool(worker.errors())),
            )
            worker = lab.actor("worker", "worker", kind=Victim, lease=LEASE, threads=4)
            lab.until_finished(timeout=60)
    ended = lab.stop([worker])
    felt = "SELECT count(*) FROM jobq_attempt WHERE error_code IN ('OSError', 'MemoryError')"
    findings.hits = lab.sql(felt)[0][0] + complaints + deaths
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings.check(
        ended,
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.none_unexpected(tables, events),
    )
    findings.figures = {"complaints": complaints, "workers that ended": deaths}
    return findings


def _ends(lab: Lab, worker: Actor) -> bool:
    return lab.all_finished() or not worker.alive


def _cut_connections(lab: Lab) -> None:
    """Make a worker need new ones."""
    if lab.is_postgres:
        lab.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
