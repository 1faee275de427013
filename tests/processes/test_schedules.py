"""Ticks come, whatever becomes of those who notice them."""

from tests.processes.conftest import Play


def test_each_tick_becomes_one_job_though_a_worker_is_killed_at_it(play: Play) -> None:
    play("killed-at-the-tick")


def test_ticks_that_nobody_was_there_for_follow_their_policy(play: Play) -> None:
    play("all-down-over-ticks")


def test_a_worker_that_was_frozen_at_a_tick_repeats_none_and_stops_none(play: Play) -> None:
    play("frozen-over-ticks")
