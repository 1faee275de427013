"""Workers die, freeze, or lose their database."""

from tests.processes.conftest import Play


def test_no_job_of_a_killed_worker_is_lost_or_stuck(play: Play) -> None:
    play("kill")


def test_a_frozen_worker_cannot_overwrite_the_new_owners_outcome(play: Play) -> None:
    play("zombie")


def test_workers_come_back_after_a_crash_of_postgresql(play_on_own_server: Play) -> None:
    play_on_own_server("database-restart")


def test_a_worker_that_cannot_reach_postgresql_stops_its_handlers_before_their_leases_end(
    play_on_own_server: Play,
) -> None:
    play_on_own_server("self-fence")


def test_a_worker_shut_out_of_sqlite_stops_its_handlers_before_their_leases_end(
    play_on_sqlite: Play,
) -> None:
    play_on_sqlite("self-fence")
