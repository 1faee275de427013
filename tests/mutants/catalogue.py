"""The mutants: what each takes out, the promise that this breaks, and who should notice first."""

from __future__ import annotations

from attrs import frozen

SOURCE_TEXT = (
    "tests/test_docs.py",
    "tests/test_public_api.py",
    "tests/conformance/test_claim_cost.py",
)
"""Tests that read source, or the text of plans. They may not speak against a mutant."""


@frozen(kw_only=True)
class Mutant:
    """One patch: `old` occurs exactly once in `file` (of the package), and becomes `new`."""

    name: str
    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """What is asked first, named as pytest does it, below `tests`: the narrowest that know."""
    faults: tuple[str, ...] = ()
    """Scenarios of `tests.processes`, named alike; none where real processes tell nothing more."""

    def patched(self, source: str) -> str:
        """The file's text with the patch; an error where it does not fit exactly once."""
        found = source.count(self.old)
        if found != 1:
            raise Rotten(f"{self.name}: its text occurs {found} times in {self.file}, not once")
        return source.replace(self.old, self.new)


class Rotten(Exception):
    """The source has moved on, and a mutant with it must."""


FENCES, CLAIMS = "conformance/test_fences.py", "conformance/test_claims.py"
AHEAD, BATCHES = "conformance/test_ahead.py", "conformance/test_batches.py"
MOVES, OUTCOMES = "conformance/test_moves.py", "conformance/test_outcomes.py"
LIMITS, STARTS = "conformance/test_limits.py", "conformance/test_limited_starts.py"
ENQUEUE, TRANSACTIONS = "conformance/test_enqueue.py", "conformance/test_transactions.py"
SCHEDULES = "conformance/test_schedules.py"
READ, SHUTDOWN = "conformance/test_read.py", "conformance/test_shutdown.py"

EXPIRES_BETWEEN = (
    f"{OUTCOMES}::test_a_job_that_expires_between_two_rounds_of_upkeep_is_not_started_either"
)
PASSED_OVER = (
    f"{SCHEDULES}::test_a_tick_is_passed_over_while_the_job_of_an_earlier_one_is_unfinished"
)
THREE_CRASHES = (
    f"{FENCES}::test_a_job_that_crashes_its_workers_three_times_fails_whatever_its_attempts"
)
OWN_COMPLETION = (
    f"{FENCES}::test_a_completion_in_a_handlers_transaction_is_in_the_history_without_its_worker"
)
STOPPED = f"{SHUTDOWN}::test_a_worker_that_is_stopped_finishes_what_it_can_and_gives_the_rest_back"
TOO_LATE = f"{STARTS}::test_a_start_that_would_be_too_late_is_not_made_and_the_attempt_given_back"
LATE_HINT = (
    "processes/test_wakeups.py::"
    "test_a_job_stored_while_another_ones_notify_is_on_its_way_gets_its_own"
)

SEEDS = "simulator/test_simulator.py::test_no_seed_breaks_a_promise"
KILL = "processes/test_crashes.py::test_no_job_of_a_killed_worker_is_lost_or_stuck"
ZOMBIE = "processes/test_crashes.py::test_a_frozen_worker_cannot_overwrite_the_new_owners_outcome"
SELF_FENCE = (
    "processes/test_crashes.py::"
    "test_a_worker_that_cannot_reach_postgresql_stops_its_handlers_before_their_leases_end"
)
SHUT_OUT = (
    "processes/test_crashes.py::"
    "test_a_worker_shut_out_of_sqlite_stops_its_handlers_before_their_leases_end"
)
ONCE = "processes/test_contention.py::test_each_job_is_handled_exactly_once"
SLOTS = "processes/test_contention.py::test_no_worker_holds_more_jobs_than_it_has_slots"
SATURATED = "processes/test_contention.py::test_saturating_workers_on_sqlite_lose_no_lease"
HINTS = "processes/test_wakeups.py::test_every_job_of_another_process_starts"
SIGTERM = "processes/test_shutdown.py::test_a_signal_uses_no_attempt_and_leaves_nothing_leased"
BLOCKED = (
    "processes/test_blocked_loop.py::"
    "test_a_handler_that_blocks_the_loop_keeps_its_lease_and_completes_once"
)
WINDOW = "processes/test_limits.py::test_no_window_holds_more_than_its_limit_over_several_workers"
TOGETHER = "processes/test_limits.py::test_several_limits_are_taken_together_or_not_at_all"

MUTANTS = (
    # --- who holds a job ------------------------------------------------------------------------
    Mutant(
        name="fence",
        promise="a late write of a claim that was lost is refused",
        file="backends/ops/_moves.py",
        old='return and_(j.id == d.id(c.id), j.fence == c.fence, may(d, "finish"))',
        new='return and_(j.id == d.id(c.id), may(d, "finish"))',
        tests=(f"{FENCES}::test_every_late_write_of_a_lost_claim_is_refused",),
        faults=(ZOMBIE,),
    ),
    Mutant(
        name="status-check",
        promise="what has ended stays as it is, whoever still holds its fence",
        file="backends/ops/_moves.py",
        old='return and_(j.id == d.id(c.id), j.fence == c.fence, may(d, "finish"))',
        new="return and_(j.id == d.id(c.id), j.fence == c.fence)",
        tests=(f"{FENCES}::test_every_late_write_of_a_lost_claim_is_refused", SEEDS),
    ),
    Mutant(
        name="fence-of-verbs",
        promise="a verb that takes a running job from its worker draws another fence",
        file="backends/ops/control.py",
        old='"run_at": d.now(),\n        "fence": d.fence(),',
        new='"run_at": d.now(),',
        tests=(f"{FENCES}::test_a_verb_that_disowns_a_running_attempt_draws_another_fence",),
    ),
    Mutant(
        name="completion-refused",
        promise="a handler whose job is lost is told so, and its own rows roll back",
        file="_context.py",
        old="        if not accepted:\n            raise LeaseLost(self.id)\n",
        new="",
        tests=(f"{TRANSACTIONS}::test_a_lost_job_takes_the_rows_of_its_handler_along",),
        faults=(ZOMBIE,),
    ),
    Mutant(
        name="zombie-told",
        promise="the handler of a job that another worker has is cancelled",
        file="_worker/lease.py",
        old="                self._in_loop(self._lost, running)\n                continue",
        new="                continue",
        tests=(
            f"{FENCES}::test_the_handler_of_a_job_that_was_lost_is_stopped_at_the_next_heartbeat",
            SEEDS,
        ),
    ),
    Mutant(
        name="self-fence",
        promise="a worker that cannot renew its leases stops its handlers before these end",
        file="_worker/lease.py",
        old='if running.renewed_at < latest and running.stopping != "lease":',
        new="if False:",
        tests=(SEEDS, SHUT_OUT),
        faults=(SELF_FENCE,),
    ),
    Mutant(
        name="late-claim",
        promise="a worker whose claim was answered late does not start what it may have lost",
        file="_worker/running.py",
        old="self.renewed_at = self.started_at if claimed_at is None else claimed_at",
        new="self.renewed_at = self.started_at",
        tests=(SEEDS,),
    ),
    Mutant(
        name="renewal",
        promise="a running job keeps its lease however long it takes",
        file="_worker/lease.py",
        old="        if not held:\n            return\n        asked_at",
        new="        if held is not None:\n            return\n        asked_at",
        tests=(f"{OUTCOMES}::test_a_running_async_job_is_cancelled_within_a_heartbeat",),
        faults=(BLOCKED,),
    ),
    Mutant(
        name="renewal-skips-locked",
        promise="a job whose row its handler's transaction holds keeps no other lease waiting",
        file="backends/ops/keep.py",
        old=(
            "must not wait for it.\n"
            "    free = d.skip_locked(select(j.id).join(mine, held(d, mine)), t.job)"
        ),
        new="must not wait for it.\n    free = select(j.id).join(mine, held(d, mine))",
        tests=(f"{FENCES}::test_renewals_skip_a_row_that_a_handlers_transaction_holds",),
    ),
    Mutant(
        name="ownership-of-workers",
        promise="a worker that leaves gives back its own jobs and nobody else's",
        file="backends/ops/keep.py",
        old='lost = and_(j.status == word("processing"), j.worker == param("worker"))',
        new='lost = and_(j.status == word("processing"), param("worker").is_not(None))',
        tests=(f"{FENCES}::test_a_worker_that_leaves_gives_back_its_own_jobs_only",),
    ),
    Mutant(
        name="ownership-of-jobs",
        promise="who asks for an owner's jobs sees those of no one else",
        file="backends/ops/read.py",
        old='given = {"type": self.type, "queue": self.queue, "owner": self.owner}',
        new='given = {"type": self.type, "queue": self.queue}',
        tests=(f"{READ}::test_filters_select_exactly_the_jobs_that_fit",),
    ),
    # --- crashes --------------------------------------------------------------------------------
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
        old="done = dict((yield _ended_before(",
        new="done = {} and dict((yield _ended_before(",
        tests=(f"{FENCES}::test_an_outcome_sent_again_counts_as_stored_and_is_stored_once",),
    ),
    Mutant(
        name="insert-known-again",
        promise="an enqueue that was sent twice, over a lost connection, is one job",
        file="backends/ops/insert.py",
        old="    if again:\n        [job]",
        new="    if False:\n        [job]",
        tests=(f"{FENCES}::test_an_insert_sent_again_is_recognised",),
    ),
    # --- claims ---------------------------------------------------------------------------------
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
        old="            if job.cancel_requested:",
        new="            if False:",
        tests=(f"{FENCES}::test_a_worker_that_claims_a_cancelled_job_does_not_start_it",),
    ),
    Mutant(
        name="cancelled-meanwhile",
        promise="a job that was asked to cancel does not go back to the queue",
        file="backends/ops/finish.py",
        old="cancelled = and_(~finished, d.is_set(j.cancel_requested))",
        new="cancelled = and_(~finished, number(1) == number(0))",
        tests=(f"{FENCES}::test_a_job_asked_to_cancel_does_not_go_back_to_the_queue",),
    ),
    # --- enqueue --------------------------------------------------------------------------------
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
        old="    if connection is not None:\n        job = yield DoOn(",
        new="    if connection is None:\n        job = yield DoOn(",
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
    # --- limits ---------------------------------------------------------------------------------
    Mutant(
        name="debit",
        promise="a start is debited, so that no window holds more than its limit",
        file="_limits/admit.py",
        old="                states[key].debit(start, cost, head.id)\n",
        new="",
        tests=(f"{LIMITS}::test_no_window_holds_more_than_its_limit_and_nothing_is_lost",),
        faults=(WINDOW,),
    ),
    Mutant(
        name="debit-stored",
        promise="what one worker starts is debited for all of them",
        file="backends/ops/limits.py",
        old='        "tat": d.instant(new.c.tat),\n        "idle_at"',
        new='        "tat": c.tat,\n        "idle_at"',
        tests=(f"{LIMITS}::test_no_window_holds_more_than_its_limit_and_nothing_is_lost",),
        faults=(WINDOW,),
    ),
    Mutant(
        name="correction-again",
        promise="units that may have been given back are not given back once more",
        file="backends/ops/limits.py",
        old="    if again and units < 0:\n        return False\n",
        new="",
        tests=(f"{LIMITS}::test_a_correction_that_is_sent_again_never_gives_units_back_twice",),
    ),
    Mutant(
        name="late-renewal",
        promise="a lease that is renewed late has kept its place of a limit",
        file="backends/ops/heads.py",
        old="        .where(d.predicate(t.HOLDING))\n",
        new="        .where(d.predicate(t.HOLDING), j.lease_until > d.now())\n",
        tests=(f"{LIMITS}::test_a_lease_that_is_renewed_late_has_kept_its_place",),
    ),
    Mutant(
        name="insert-arrives-again",
        promise="an enqueue whose lost statement arrives late is that one job",
        file="backends/ops/insert.py",
        old="        insert = insert.on_conflict_do_nothing()\n",
        new="        insert = _returning_existing(d, insert)\n",
        tests=(f"{FENCES}::test_an_insert_that_arrives_while_it_is_sent_again_is_recognised",),
    ),
    Mutant(
        name="history-of-completions",
        promise="a job that its handler completed is in the history without its worker",
        file="backends/ops/finish.py",
        old="    return select(d.wire(done.c.id)).add_cte(record)\n",
        new="    return select(d.wire(done.c.id))\n",
        tests=(OWN_COMPLETION,),
    ),
    Mutant(
        name="debit-of-each",
        promise="all of a job's limits are debited, or none",
        file="_limits/admit.py",
        old="            units |= dict.fromkeys(keys, cost)\n",
        new="            units = units or dict.fromkeys(keys, cost)\n",
        tests=(f"{LIMITS}::test_all_limits_or_none_are_debited",),
        faults=(TOGETHER,),
    ),
    Mutant(
        name="limits-lock",
        promise="two workers never decide on the same limit at a time, on PostgreSQL",
        file="backends/ops/limits.py",
        old="return d.lock(bounded(d, query), t.limit) if locking else query",
        new="return bounded(d, query) if locking else query",
        tests=(f"{LIMITS}::test_claims_of_several_processes_at_the_same_time_stay_within_a_limit",),
        faults=(WINDOW,),
    ),
    Mutant(
        name="tolerance",
        promise="a start that comes later than its permit allows is not made",
        file="_worker/running.py",
        old="        if late > 0:\n",
        new="        if False:\n",
        tests=(TOO_LATE, SEEDS),
    ),
    Mutant(
        name="look-ahead",
        promise="a start that is granted ahead waits for its time",
        file="_worker/running.py",
        old="await asyncio.sleep(max(0.0, self.start.not_before - time.monotonic()))",
        new="await asyncio.sleep(0.0)",
        tests=(f"{STARTS}::test_a_start_that_is_granted_ahead_waits_for_its_time",),
        faults=(WINDOW,),
    ),
    Mutant(
        name="slots-ahead",
        promise="starts that are still to come take half of the free slots at most",
        file="_limits/admit.py",
        old="slots, ahead = slots - 1, ahead - is_ahead",
        new="slots, ahead = slots - 1, ahead",
        tests=(f"{STARTS}::test_a_start_ahead_takes_at_most_half_of_the_free_slots",),
    ),
    Mutant(
        name="refusal",
        promise="a limit that a provider closed starts nothing until it opens",
        file="_limits/admit.py",
        old="            now = max(now, self.blocked_until)\n",
        new="            pass\n",
        tests=(f"{LIMITS}::test_a_refusal_closes_the_limit_and_gives_the_attempt_back",),
    ),
    Mutant(
        name="tick-record",
        promise="a tick becomes one job, also where the clock went back over it",
        file="backends/ops/schedules.py",
        old=" if (name, at) in recorded}",
        new="}",
        tests=(
            f"{SCHEDULES}::test_a_tick_that_is_recorded_makes_no_job_whatever_the_schedule_says",
        ),
    ),
    Mutant(
        name="schedules-take-turns",
        promise="a process declares its schedules once, so versions of the code do not take turns",
        file="_worker/ticker.py",
        old="change=first)",
        new="change=True)",
        tests=(
            f"{SCHEDULES}::test_the_version_that_started_last_says_when_to_tick_and_all_act_by_it",
        ),
    ),
    Mutant(
        name="overlap",
        promise="without overlap a tick is passed over while the job of an earlier one goes on",
        file="backends/ops/schedules.py",
        old="        is_busy = plan.schedule.unique_key in busy\n",
        new="        is_busy = False\n",
        tests=(PASSED_OVER,),
    ),
)
