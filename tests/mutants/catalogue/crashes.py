"""Crashes, and what is left of a job after them."""

from __future__ import annotations

from tests.mutants.catalogue.mutant import Mutant
from tests.mutants.catalogue.names import (
    FENCES,
    KILL,
    ONCE,
    OUTCOMES,
    SIGTERM,
    STOPPED,
    THREE_CRASHES,
)

MUTANTS = (
    Mutant(
        name="rescue-horizon",
        promise="a job is taken from its worker when its lease has ended, not before",
        file="backends/ops/keep.py",
        old='return and_(j.status == word("processing"), j.lease_until < d.now())',
        new='return j.status == word("processing")',
        tests=(f"{FENCES}::test_a_lease_lasts_until_it_is_renewed_no_more",),
        faults=(ONCE, KILL),
    ),
    Mutant(
        name="rescue-skips-locked",
        promise="a rescue leaves a job alone whose completion is being committed",
        file="backends/ops/keep.py",
        old="    return d.skip_locked(orphans)",
        new="    return orphans",
        tests=(f"{FENCES}::test_a_rescue_leaves_a_row_that_is_being_committed",),
    ),
    Mutant(
        name="attempt",
        promise="every start is an attempt, so no job is started without end",
        file="backends/ops/claim.py",
        old='"attempts": j.attempts + number(1),',
        new='"attempts": j.attempts,',
        tests=(f"{OUTCOMES}::test_a_job_out_of_attempts_fails_with_its_last_error",),
        faults=(KILL,),
    ),
    Mutant(
        name="crash-loop",
        promise="a job that crashes three workers fails, however many attempts it has",
        file="_outcome.py",
        old="    if job.crash_count + 1 >= CRASHES_ALLOWED:",
        new="    if False:",
        tests=(THREE_CRASHES,),
    ),
    Mutant(
        name="release",
        promise="a shutdown uses up no attempt",
        file="_outcome.py",
        old="given_back=1,\n                released=int(not waited),\n                overran",
        new="released=int(not waited),\n                overran",
        tests=(STOPPED,),
        faults=(SIGTERM,),
    ),
    Mutant(
        name="outcome-until-durable",
        promise="an outcome is written until the database has taken it",
        file="_worker/finisher.py",
        old='                again = {"again": True}\n',
        new="                return {}, []\n",
        tests=(f"{OUTCOMES}::test_an_outcome_is_written_until_the_database_has_taken_it",),
    ),
    Mutant(
        name="outcome-known-again",
        promise="an outcome that was sent twice, over a lost connection, is stored once",
        file="backends/ops/finish.py",
        old="done = (yield from ended_before(d, endings)) if again else {}",
        new="done: dict[str, str] = {}",
        tests=(f"{FENCES}::test_an_outcome_sent_again_counts_as_stored_and_is_stored_once",),
    ),
    Mutant(
        name="joined-outcome-known-again",
        promise="an outcome that was sent twice together with a claim is stored once",
        file="backends/ops/cycle.py",
        old="done = (yield from ended_before(d, endings)) if again else {}",
        new="done: dict[str, str] = {}",
        tests=(f"{FENCES}::test_outcomes_sent_with_a_claim_are_written_and_refused_alike",),
    ),
    Mutant(
        name="late-among-many",
        promise="a late outcome is refused among others that are not",
        file="backends/ops/completions.py",
        old="    if count < len(ids):",
        new="    if False:",
        tests=(f"{FENCES}::test_a_late_outcome_in_a_batch_does_not_hold_up_the_others",),
    ),
    Mutant(
        name="insert-known-again",
        promise="an enqueue that was sent twice, over a lost connection, is one job",
        file="backends/ops/insert.py",
        old="    if again:\n        [job]",
        new="    if False:\n        [job]",
        tests=(f"{FENCES}::test_an_insert_sent_again_is_recognised",),
    ),
)
