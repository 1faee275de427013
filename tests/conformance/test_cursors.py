"""A connection to PostgreSQL keeps the cursors of its last small statements."""

from __future__ import annotations

import pytest

from jobq.backends.postgres.connections import SPARES, Connection


@pytest.mark.parametrize("rows, kept", [(1, True), (2, False)])
def test_a_connection_keeps_a_cursor_unless_that_holds_many_rows(
    postgres: str, rows: int, kept: bool
) -> None:
    series = "SELECT generate_series(1, %s)"
    with Connection.connect(postgres, autocommit=True) as connection:
        cursor = connection.take_cursor(series)
        cursor.execute(series, [rows])
        connection.leave_cursor(series, cursor)
        assert (connection.take_cursor(series) is cursor) == kept


def test_a_cursor_gets_the_statement_that_it_had_and_the_oldest_one_goes(postgres: str) -> None:
    texts = [f"SELECT {number}" for number in range(SPARES + 1)]
    with Connection.connect(postgres, autocommit=True) as connection:
        cursors = {sql: connection.take_cursor(sql) for sql in texts}
        for sql, cursor in cursors.items():
            cursor.execute(sql)
            connection.leave_cursor(sql, cursor)
        kept = [connection.take_cursor(sql) is cursors[sql] for sql in texts]
    assert kept == [False] + [True] * SPARES
