"""What PostgreSQL says of its plans: those of a moment, and those that a worker prepares."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import sql

from jobq.backends._statement import Call
from jobq.backends.postgres.plans import Plans, may_prepare

PARAMETER = re.compile(r"%\((\w+)\)s")
OPTIONS = "ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON"


class Explainer:
    """Runs statements and returns their plans, with what these have read and written.

    With the settings of a worker's session it prepares statements as that does, when they come
    first, for the tables as they are then.
    """

    def __init__(self, session: psycopg.Connection[Any], plans: Plans) -> None:
        self._session = session
        self._plans = plans
        self._names: dict[str, str] = {}
        for name, _, wanted in plans:
            session.execute("SELECT set_config(%s, %s, false)", (name, wanted))

    def plan(self, call: Call) -> dict[str, Any]:
        """The plan of a call, which is run: the caller takes back what it has changed."""
        statement: Any = f"EXPLAIN ({OPTIONS}) {call.sql}"
        params: Any = call.params
        if self._plans and may_prepare(call, self._plans):
            statement, params = self._execute(call), None
        [(told,)] = self._session.execute(statement, params, prepare=False).fetchall()
        return told[0]["Plan"]  # type: ignore[no-any-return]

    def _execute(self, call: Call) -> sql.Composed:
        order = list(dict.fromkeys(PARAMETER.findall(call.sql)))
        if call.sql not in self._names:
            self._names[call.sql] = name = f"prepared_{len(self._names)}"
            text = PARAMETER.sub(lambda found: f"${order.index(found[1]) + 1}", call.sql)
            self._session.execute(f"PREPARE {name} AS {text.replace('%%', '%')}".encode())
        execute = sql.SQL(f"EXPLAIN ({OPTIONS}) EXECUTE ") + sql.Identifier(self._names[call.sql])
        if order:
            values = sql.SQL(", ").join(sql.Literal(call.params[name]) for name in order)
            execute += sql.SQL("(") + values + sql.SQL(")")
        return execute
