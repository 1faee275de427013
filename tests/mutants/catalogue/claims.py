"""Claims: who gets which jobs, and when they start."""

from __future__ import annotations

from tests.mutants.catalogue.mutant import Mutant
from tests.mutants.catalogue.names import (
    AHEAD,
    BATCHES,
    CLAIMS,
    ENQUEUE,
    EXPIRES_BETWEEN,
    FENCES,
    LIMITS,
    MOVES,
    ONCE,
    SATURATED,
    SLOTS,
)

MUTANTS = (
    Mutant(
        name="claim-lock",
        promise="no job is given to two workers, on PostgreSQL",
        file="backends/ops/claim.py",
        old="    return d.skip_locked(heads)",
        new="    return heads",
        tests=(
            f"{CLAIMS}::test_no_job_is_given_to_two_claimers_with_connections_of_their_own",
            f"{CLAIMS}::test_no_job_is_given_to_two_claimers_in_threads",
        ),
        faults=(ONCE,),
    ),
    Mutant(
        name="sqlite-lock",
        promise="what a transaction on SQLite has read still holds when it writes",
        file="backends/sqlite/writer.py",
        old='self.connection.execute("BEGIN IMMEDIATE")',
        new='self.connection.execute("BEGIN")',
        tests=(
            f"{LIMITS}::test_claims_of_several_processes_at_the_same_time_stay_within_a_limit",
            f"{CLAIMS}::test_no_job_is_given_to_two_claimers_with_connections_of_their_own",
        ),
        faults=(SATURATED, ONCE),
    ),
    Mutant(
        name="back-pressure",
        promise="a worker holds no more jobs than it has slots",
        file="_worker/slots.py",
        old="return self._count - self._taken_by(self.held) - self._taken_by(self.abandoned)",
        new="return self._count - self._taken_by(self.abandoned)",
        tests=(f"{CLAIMS}::test_two_workers_of_ten_slots_never_hold_more_than_ten_of_forty_jobs",),
        faults=(SLOTS,),
    ),
    Mutant(
        name="held-ahead",
        promise="jobs that no slot comes free for are not kept from other workers",
        file="_worker/slots.py",
        old="if any(now - running.started_at >= PATIENCE for running in self._line):",
        new="if False:",
        tests=(
            f"{AHEAD}::test_jobs_held_ahead_go_back_where_no_slot_comes_free_and_that_counts_for_nothing",
        ),
    ),
    Mutant(
        name="batch-order",
        promise="each job of a batch gets its own result",
        file="_worker/calls.py",
        old="for running, result in zip(taking_part, results, strict=True)",
        new="for running, result in zip(taking_part, reversed(results), strict=True)",
        tests=(f"{BATCHES}::test_one_call_takes_many_jobs_and_gives_each_its_result",),
    ),
    Mutant(
        name="pause",
        promise="nothing of a paused queue is started",
        file="backends/ops/claim.py",
        old="return exists().where(p.queue == queue, d.is_set(p.paused), in_force)",
        new="return exists().where(p.queue == queue, number(1) == number(0), in_force)",
        tests=(f"{MOVES}::test_a_paused_queue_starts_nothing_and_the_others_go_on",),
    ),
    Mutant(
        name="declared",
        promise="a job whose handler nobody has asked yet is not claimed",
        file="backends/ops/insert.py",
        old='stored["declared"] = stored["ready"] = d.flag(given["declared"])',
        new='stored["declared"], stored["ready"] = d.flag(given["declared"]), d.flag(number(1))',
        tests=(
            f"{ENQUEUE}::test_a_job_of_an_unknown_type_is_stored_undeclared_and_never_claimed",
            f"{LIMITS}::test_a_job_whose_handler_is_not_known_is_not_ready_to_be_claimed",
        ),
    ),
    Mutant(
        name="declared-when-due",
        promise="nor is such a job claimed where its time was given",
        file="backends/ops/insert.py",
        old='due = and_(given["declared"] == number(1), stored["run_at"] <= d.now())',
        new='due = stored["run_at"] <= d.now()',
        tests=(f"{ENQUEUE}::test_a_job_of_an_unknown_type_is_not_claimed_when_its_time_has_come",),
    ),
    Mutant(
        name="expiry",
        promise="a job that is claimed past its expires_at is not started",
        file="_worker/slots.py",
        old="if job.expires_at is not None and job.expires_at <= job.started_at:",
        new="if False:",
        tests=(EXPIRES_BETWEEN,),
    ),
    Mutant(
        name="cancelled-before",
        promise="a cancelled job that is claimed all the same is not started",
        file="_worker/slots.py",
        old="            if running.job.cancel_requested and not await halts(running):",
        new="            if False:",
        tests=(f"{FENCES}::test_a_worker_that_claims_a_cancelled_job_does_not_start_it",),
    ),
    Mutant(
        name="cancelled-meanwhile",
        promise="a job that was asked to cancel does not go back to the queue",
        file="backends/ops/finish.py",
        old="asked = and_(~finished, d.is_set(j.cancel_requested))",
        new="asked = and_(~finished, number(1) == number(0))",
        tests=(f"{FENCES}::test_a_job_asked_to_cancel_does_not_go_back_to_the_queue",),
    ),
)
