"""Handlers block the event loop."""

from tests.processes.conftest import Play


def test_a_handler_that_blocks_the_loop_keeps_its_lease_and_completes_once(play: Play) -> None:
    play("frozen-loop")


def test_a_handler_that_blocks_past_its_timeout_ends_the_process(play: Play) -> None:
    play("blocked-past-timeout")
