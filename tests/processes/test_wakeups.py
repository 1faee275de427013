"""Hints alone wake workers: the fall-back poll is at one hour."""

import pytest

from jobq.backends.postgres import hints as postgres
from tests.processes.conftest import Play


def test_every_job_of_another_process_starts(play: Play) -> None:
    play("wake-ups")


def test_what_is_committed_beside_an_open_transaction_starts(play: Play) -> None:
    play("wake-ups-in-transactions")


def test_a_job_stored_while_another_ones_notify_is_on_its_way_gets_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hints = postgres.Hints()
    assert hints.leads("default")
    assert hints.trails("default")
    monkeypatch.setattr(postgres, "COALESCE", 0.0)
    assert hints.leads("default")  # it stands for the one before
    assert hints.trails("default")  # this one may have been stored after it was heard
    hints.sent("default")
    assert hints.take() == ["default"]


def test_a_leading_notify_stands_for_the_jobs_that_were_stored_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hints = postgres.Hints()
    assert hints.leads("default")
    assert hints.trails("default")
    monkeypatch.setattr(postgres, "COALESCE", 0.0)
    assert hints.leads("default")
    hints.sent("default")
    assert hints.take() == []


def test_a_leading_notify_that_was_never_stored_stands_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hints = postgres.Hints()
    assert hints.leads("default")
    assert hints.trails("default")
    monkeypatch.setattr(postgres, "COALESCE", 0.0)
    assert hints.leads("default")
    assert hints.take() == ["default"]
