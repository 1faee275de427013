"""Tasks that are cancelled while they wait for the database."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.faults import checker
from tests.faults.lab import Findings, Lab, scenario


@scenario("cancel-in-transaction", codes=("F42",), databases=("sqlite",), full=50, quick=20, tiny=5)
def cancel_in_transaction(lab: Lab) -> Findings:
    """A task cancelled inside a SQLite transaction leaves no lock: another process can write."""
    trials = lab.choose(full=200, quick=100, tiny=30)
    canceller = lab.actor("canceller")
    for number in range(trials):
        lab.until_noted("cancelled", number + 1)
        _write(lab)
        canceller.go_on()
    cancelled = lab.histories.of("cancelled")
    findings = Findings(trials=trials, hits=sum(event["hit"] for event in cancelled))
    findings.check(checker.that("the canceller survives", canceller.alive, canceller.errors()))
    return findings


def _write(lab: Lab) -> None:
    """Write as another process would; more than a second's wait is an error."""
    path = lab.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE jobq_queue SET updated_at = updated_at")
        connection.execute("COMMIT")
