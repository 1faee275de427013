"""The tests that mutants name more than once, or that have long names."""

from __future__ import annotations

FENCES, CLAIMS = "conformance/test_fences.py", "conformance/test_claims.py"
AHEAD, BATCHES = "conformance/test_ahead.py", "conformance/test_batches.py"
MOVES, OUTCOMES = "conformance/test_moves.py", "conformance/test_outcomes.py"
LIMITS, STARTS = "conformance/test_limits.py", "conformance/test_limited_starts.py"
ENQUEUE, TRANSACTIONS = "conformance/test_enqueue.py", "conformance/test_transactions.py"
SCHEDULES = "conformance/test_schedules.py"
STEPS, WAITING = "conformance/test_steps.py", "conformance/test_waiting.py"
READ, SHUTDOWN = "conformance/test_read.py", "conformance/test_shutdown.py"
ROUNDS, SERIES = "conformance/test_rounds.py", "unit/test_series.py"
PLANS = "conformance/test_hot_plans.py"

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
