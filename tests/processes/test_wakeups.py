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
    of_queue.trails("default")  # this one may have been stored after it was heard
    of_queue.sent("default")
    assert of_queue.take(everything=True) == ["default"]


def test_a_leading_notify_stands_for_the_jobs_that_were_stored_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_queue = hints.Hints()
    assert of_queue.leads("default")
    assert of_queue.trails("default")
    monkeypatch.setattr(hints, "COALESCE", 0.0)
    assert of_queue.leads("default")
    of_queue.sent("default")
    assert of_queue.take(everything=True) == []


def test_a_leading_notify_that_was_never_stored_stands_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_queue = hints.Hints()
    assert of_queue.leads("default")
    assert of_queue.trails("default")
    monkeypatch.setattr(hints, "COALESCE", 0.0)
    assert of_queue.leads("default")
    assert of_queue.take(everything=True) == ["default"]


def test_in_a_stream_the_leading_notifies_put_the_trailing_one_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_queue = hints.Hints()
    monkeypatch.setattr(hints, "TRAIL", 0.0)
    assert of_queue.leads("default")
    assert of_queue.trails("default")
    monkeypatch.setattr(hints, "COALESCE", 0.0)
    assert of_queue.leads("default")
    of_queue.sent("default")
    monkeypatch.setattr(hints, "TRAIL", 60.0)
    assert not of_queue.trails("default")  # somebody attends already
    assert of_queue.take() == []
    rest = of_queue.rest()
    assert rest is not None
    assert rest > 30


def test_when_nothing_trails_the_attendance_ends_and_can_begin_again() -> None:
    of_queue = hints.Hints()
    assert of_queue.trails("default")
    assert of_queue.take(everything=True) == ["default"]
    assert of_queue.rest() is None
    assert of_queue.trails("default")
