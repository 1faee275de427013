"""What differs between the two databases, and nothing else.

Statements take and return only text, integers and NULL: a caller's connection brings its own row
factory, converters and time zone. Ids and JSON travel as text, instants as integer microseconds,
flags as 0 or 1; the casts are in the SQL.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    TextClause,
    bindparam,
    literal_column,
)
from sqlalchemy.engine import Dialect as SqlalchemyDialect

from jobq._clock import Clock

Expression = ColumnElement[Any]


_WORDS = re.compile(r"[\w ,]+")


def param(name: str, kind: Any = Text) -> Expression:
    """A parameter that is given when the statement runs."""
    return bindparam(name, type_=kind())


def word(value: str) -> Expression:
    """A text constant that stays in the SQL, so that partial indexes can be proven to apply."""
    if not _WORDS.fullmatch(value):
        raise ValueError(f"{value!r} is no constant for SQL; bind it")
    return literal_column(f"'{value}'", Text)


def number(value: int) -> Expression:
    """An integer constant that stays in the SQL."""
    return literal_column(str(value), Integer)


def is_one_of(column: Expression, values: Any) -> Expression:
    words = [word(str(value)) for value in values]
    return column.in_(words) if words else number(0) == number(1)


class Dialect:
    """The questions that statements ask. One instance serves one queue, and knows its clock."""

    name: ClassVar[str]
    spelling: ClassVar[str]
    """Whose SQL text this is: another one for the same database may write parameters otherwise."""
    sqlalchemy: ClassVar[SqlalchemyDialect]
    writes_in_ctes: ClassVar[bool]
    """Whether one statement can write to two tables."""
    locks_rows: ClassVar[bool]
    notifies: ClassVar[bool]
    has_clock: ClassVar[bool]
    """Whether its own clock speaks; otherwise that of the process does."""
    keeps_dead_entries: ClassVar[bool]
    """Whether indexes keep what is gone for as long as a snapshot could see it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def current(self) -> int | None:
        """The value of the parameter `now`; `None` lets the database's clock speak."""
        raise NotImplementedError

    def insert(self, table: Table) -> Any:
        """An INSERT that knows ON CONFLICT."""
        raise NotImplementedError

    def now(self) -> Expression:
        raise NotImplementedError

    def instant(self, microseconds: Expression) -> Expression:
        """The stored form of an instant given in microseconds."""
        raise NotImplementedError

    def later(self, moment: Expression, microseconds: Expression) -> Expression:
        raise NotImplementedError

    def flag(self, value: Expression) -> Expression:
        """The stored form of 0 or 1."""
        raise NotImplementedError

    def truth(self, condition: Expression) -> Expression:
        """The stored form of a condition."""
        raise NotImplementedError

    def is_set(self, column: Expression) -> Expression:
        """A stored flag as a condition, spelled as the partial indexes spell it."""
        raise NotImplementedError

    def is_unset(self, column: Expression) -> Expression:
        raise NotImplementedError

    def id(self, value: Expression) -> Expression:
        raise NotImplementedError

    def json(self, value: Expression) -> Expression:
        raise NotImplementedError

    def wire(self, column: Expression) -> Expression:
        """A column as text or integer."""
        raise NotImplementedError

    def fence(self) -> Expression:
        """A random 64-bit integer, another for each statement, drawn once for all its rows."""
        raise NotImplementedError

    def rows(self, name: str, /, **kinds: Any) -> FromClause:
        """The parameter `name`, a JSON array of objects, as a table with these columns."""
        raise NotImplementedError

    def predicate(self, spelled: str) -> TextClause:
        """A predicate of a partial index, as the index itself spells it."""
        raise NotImplementedError

    def check(self, column: Expression) -> Expression:
        """A column that filters rows already found, and is not to lead to them by an index."""
        raise NotImplementedError

    def one_by_one(self, column: Expression, value: Expression) -> Expression:
        """They are equal, and each value is to be looked up in the column's index."""
        raise NotImplementedError

    def skip_locked(self, query: Select[Any], *of: Any) -> Select[Any]:
        """Lock the rows of a query, leaving out those that another transaction holds."""
        raise NotImplementedError

    def lock(self, query: Select[Any], *of: Any) -> Select[Any]:
        """Lock the rows of a query, in its order, waiting for those that hold them."""
        raise NotImplementedError

    def share(self, query: Select[Any], *of: Any) -> Select[Any]:
        """Keep the rows of a query from being changed until the transaction ends."""
        raise NotImplementedError

    def pyformat(self) -> Dialect:
        """The same, for a cursor that wants parameters as `%(name)s`."""
        return self

    def own(self, columns: Any) -> list[Expression]:
        """`wires` for statements that never run on a caller's connection."""
        return self.wires(columns)

    def wires(self, columns: Any) -> list[Expression]:
        return [self.wire(column).label(column.name) for column in columns]
