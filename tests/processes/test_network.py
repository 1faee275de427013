"""The network before PostgreSQL breaks, or PostgreSQL turns on its clients."""

from pathlib import Path

import pytest

from tests.faults.lab import Lab
from tests.processes.conftest import Play, expect_no_miss


@pytest.fixture
def play_on_postgres(postgres: str, tmp_path: Path) -> Play:
    return lambda name: expect_no_miss(name, Lab(postgres, tmp_path, "tiny"))


def test_a_lost_answer_to_a_commit_neither_loses_nor_doubles_a_job(play_on_postgres: Play) -> None:
    play_on_postgres("commit-unknown")


def test_jobs_of_a_claim_that_was_never_heard_return_after_a_lease(play_on_postgres: Play) -> None:
    play_on_postgres("claim-held")


def test_frozen_connections_free_their_callers_and_work_goes_on(play_on_postgres: Play) -> None:
    play_on_postgres("half-open")


def test_a_worker_that_is_cut_off_stops_its_handlers_before_their_leases_end(
    play_on_postgres: Play,
) -> None:
    play_on_postgres("network-cut")


def test_no_job_is_lost_while_sessions_are_killed(play_on_postgres: Play) -> None:
    play_on_postgres("sessions-killed")


def test_leases_and_outcomes_do_without_the_connections_that_others_took(
    play_on_own_server: Play,
) -> None:
    play_on_own_server("no-connection-left")


def test_the_http_api_refuses_in_time_while_its_database_cannot_be_reached(
    play_on_postgres: Play,
) -> None:
    play_on_postgres("http-outage")
