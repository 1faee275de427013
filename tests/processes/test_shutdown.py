"""Processes end."""

from tests.processes.conftest import Play


def test_a_signal_uses_no_attempt_and_leaves_nothing_leased(play: Play) -> None:
    play("sigterm")


def test_a_process_whose_queue_nobody_closed_exits_and_its_jobs_start(play: Play) -> None:
    play("unclosed")


def test_a_forked_child_can_use_the_queue_of_its_parent(play: Play) -> None:
    play("fork")


def test_a_cancelled_task_leaves_no_lock_on_sqlite(play_on_sqlite: Play) -> None:
    play_on_sqlite("cancel-in-transaction")
