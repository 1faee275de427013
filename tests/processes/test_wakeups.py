"""Hints alone wake workers: the fall-back poll is at one hour."""

import pytest

from jobq.backends.postgres import hints
from tests.processes.conftest import Play


def test_every_job_of_another_process_starts(play: Play) -> None:
    play("wake-ups")


def test_what_is_committed_beside_an_open_transaction_starts(play: Play) -> None:
    play("wake-ups-in-transactions")


def test_a_job_stored_while_another_ones_notify_is_on_its_way_gets_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_queue = hints.Hints()
    assert of_queue.leads("default")
    assert of_queue.trails("default")
    monkeypatch.setattr(hints, "COALESCE", 0.0)
    assert of_queue.leads("default")  # it stands for the one before
    assert of_queue.trails("default")  # this one may have been stored after it was heard
    of_queue.sent("default")
    assert of_queue.take() == ["default"]


def test_a_leading_notify_stands_for_the_jobs_that_were_stored_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_queue = hints.Hints()
    assert of_queue.leads("default")
    assert of_queue.trails("default")
    monkeypatch.setattr(hints, "COALESCE", 0.0)
    assert of_queue.leads("default")
    of_queue.sent("default")
    assert of_queue.take() == []


def test_a_leading_notify_that_was_never_stored_stands_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_queue = hints.Hints()
    assert of_queue.leads("default")
    assert of_queue.trails("default")
    monkeypatch.setattr(hints, "COALESCE", 0.0)
    assert of_queue.leads("default")
    assert of_queue.take() == ["default"]
