"""What was saved is there, whatever becomes of those who save it."""

from tests.processes.conftest import Play


def test_what_is_stored_is_there_though_workers_die_while_they_save(play_on_sqlite: Play) -> None:
    play_on_sqlite("killed-while-saving")
