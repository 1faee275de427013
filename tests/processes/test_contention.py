"""Several workers want the same jobs."""

from tests.processes.conftest import Play


def test_each_job_is_handled_exactly_once(play: Play) -> None:
    play("exactly-once")


def test_no_worker_holds_more_jobs_than_it_has_slots(play: Play) -> None:
    play("slots")


def test_saturating_workers_on_sqlite_lose_no_lease(play_on_sqlite: Play) -> None:
    play_on_sqlite("sqlite-saturation")
