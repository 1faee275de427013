"""PostgreSQL servers that refuse to write."""

from __future__ import annotations

import time
from contextlib import closing

import jobq
from tests.faults import checker
from tests.faults.app import connect
from tests.faults.lab import Findings, Lab, scenario

LEASE = 20.0
"""Longer than the server is read-only here: within a lease nothing may be lost."""


@scenario("read-only-server", codes=("F20",), databases=("postgresql",), full=20, quick=3, tiny=2)
def read_only_server(lab: Lab) -> Findings:
    """A server that becomes read-only, as in a failover, is waited for: no outcome is lost."""
    rounds = lab.choose(full=5, quick=1, tiny=1)
    each = lab.choose(full=10, quick=5, tiny=2)
    workers = lab.workers(2, lease=LEASE, concurrency=each)
    findings = Findings(trials=rounds)
    with closing(jobq.Queue(lab.url, patience=0.5)) as impatient:
        for _ in range(rounds):
            jobs = lab.enqueue_many("step", [{"seconds": 1.0}] * each)
            lab.until(lambda: lab.queue.counts()["processing"] == each, 30, "jobs run")
            _set(lab, "on")
            findings.check(_refused(impatient))
            time.sleep(2.0)
            names = ", ".join(f"'{id}'" for id in jobs)
            sql = f"SELECT count(*) FROM jobq_job WHERE status = 'processing' AND id IN ({names})"
            findings.hits += lab.sql(sql)[0][0]
            _set(lab, "off")
            lab.until_finished(timeout=60)
    survivors = checker.each("a worker survives", workers, lambda worker: worker.alive)
    ended = lab.stop(workers)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings.check(
        survivors,
        ended,
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.started_once(tables, events),
    )
    return findings


def _set(lab: Lab, value: str) -> None:
    """Make the database read-only, or writable, for all sessions."""
    with closing(connect(lab.url)) as connection:
        connection.execute("SET default_transaction_read_only = off")
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _refused(queue: jobq.Queue) -> checker.Check:
    try:
        queue.enqueue("step", {})
    except jobq.BackendUnavailable as error:
        return checker.that("an enqueuer is told", "read-only" in str(error), error)
    return checker.that("an enqueuer is told", False, "it was stored")
