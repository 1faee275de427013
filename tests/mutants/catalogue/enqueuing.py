"""Enqueuing, and transactions."""

from __future__ import annotations

from tests.mutants.catalogue.mutant import Mutant
from tests.mutants.catalogue.names import ENQUEUE, HINTS, LATE_HINT, SERIES, TRANSACTIONS

MUTANTS = (
    Mutant(
        name="unique-key",
        promise="a key is held by one unfinished job",
        file="backends/_tables.py",
        old='UNIQUE = f"unique_key IS NOT NULL AND {IS_LIVE}"',
        new="UNIQUE = \"unique_key IS NOT NULL AND status = 'pending'\"",
        tests=(f"{ENQUEUE}::test_an_unfinished_job_holds_its_key",),
    ),
    Mutant(
        name="callers-transaction",
        promise="a job that was enqueued in a transaction vanishes with its rollback",
        file="_verbs.py",
        old="        if connection is not None:\n            job = yield DoOn(",
        new="        if connection is None:\n            job = yield DoOn(",
        tests=(f"{TRANSACTIONS}::test_a_job_vanishes_with_the_rollback_of_its_transaction",),
    ),
    Mutant(
        name="rollback",
        promise="what fails half way leaves nothing behind, on SQLite",
        file="backends/sqlite/writer.py",
        old="                self.rollback()\n                raise",
        new="                self.commit()\n                raise",
        tests=(f"{TRANSACTIONS}::test_a_unit_of_work_that_fails_half_way_leaves_nothing_behind",),
    ),
    Mutant(
        name="trailing-notify",
        promise="every job of a burst is told to the workers, the last one too",
        file="backends/postgres/hints.py",
        old="            self._trailing.setdefault(queue, time.monotonic() + TRAIL)\n",
        new="",
        tests=(LATE_HINT,),
        faults=(HINTS,),
    ),
    Mutant(
        name="guessed-id",
        promise="who knows the id of one job can name no other",
        file="_series.py",
        old="os.urandom(16)",
        new="bytes(16)",
        tests=(f"{SERIES}::test_two_series_of_one_instant_share_no_random_bits",),
    ),
)
