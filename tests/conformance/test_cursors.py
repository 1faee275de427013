"""A connection to PostgreSQL keeps its cursor for the next small call."""

from __future__ import annotations

import pytest

from jobq.backends.postgres.connections import Connection


@pytest.mark.parametrize("rows, kept", [(1, True), (2, False)])
def test_a_connection_keeps_its_cursor_unless_that_holds_many_rows(
    postgres: str, rows: int, kept: bool
) -> None:
    with Connection.connect(postgres, autocommit=True) as connection:
        cursor = connection.take_cursor()
        cursor.execute("SELECT generate_series(1, %s)", [rows])
        connection.leave_cursor(cursor)
        assert (connection.take_cursor() is cursor) == kept
