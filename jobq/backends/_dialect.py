"""What differs between the two databases, and nothing else.

Statements take and return only text, integers and NULL: a caller's connection brings its own row
factory, converters and time zone. Ids and JSON travel as text, instants as integer microseconds,
flags as 0 or 1; the casts are in the SQL.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    TextClause,
    bindparam,
    case,
    cast,
    extract,
    func,
    literal_column,
    not_,
    select,
    text,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Dialect as SqlalchemyDialect
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from jobq._clock import Clock
from jobq.backends._columns import sqlite_predicate

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

    def own(self, columns: Any) -> list[Expression]:
        """`wires` for statements that never run on a caller's connection."""
        return self.wires(columns)

    def wires(self, columns: Any) -> list[Expression]:
        return [self.wire(column).label(column.name) for column in columns]


class _SqliteCompiler(SQLiteCompiler):
    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:  # noqa: ARG002
        return text


class _Sqlite(SQLiteDialect_pysqlite):
    """SQLAlchemy's, with the `INDEXED BY` that it leaves out."""

    statement_compiler = _SqliteCompiler
    supports_statement_cache = True


class SqliteDialect(Dialect):
    name = spelling = "sqlite"
    sqlalchemy = _Sqlite(paramstyle="named")
    writes_in_ctes = False
    locks_rows = False
    notifies = False
    has_clock = False
    keeps_dead_entries = False

    def current(self) -> int:
        return self.clock.now()

    def insert(self, table: Table) -> Any:
        return sqlite.insert(table)

    def now(self) -> Expression:
        return param("now", Integer)

    def instant(self, microseconds: Expression) -> Expression:
        return microseconds

    def later(self, moment: Expression, microseconds: Expression) -> Expression:
        return moment + microseconds

    def flag(self, value: Expression) -> Expression:
        return value

    def truth(self, condition: Expression) -> Expression:
        return case((condition, number(1)), else_=number(0))

    def is_set(self, column: Expression) -> Expression:
        return column == number(1)

    def is_unset(self, column: Expression) -> Expression:
        return column == number(0)

    def id(self, value: Expression) -> Expression:
        return value

    def json(self, value: Expression) -> Expression:
        return value

    def wire(self, column: Expression) -> Expression:
        # An expression has no declared type, so no converter of the caller's touches it.
        kind = column.type
        return cast(column, Integer if isinstance(kind, Integer) else Text)

    def fence(self) -> Expression:
        return select(func.random()).scalar_subquery()

    def rows(self, name: str, /, **kinds: Any) -> FromClause:
        each = func.json_each(param(name)).table_valued("value", name=f"{name}_each")
        columns = (
            cast(func.json_extract(each.c.value, text(f"'$.{column}'")), _affinity(kind)).label(
                column
            )
            for column, kind in kinds.items()
        )
        # The LIMIT keeps SQLite from taking the subquery apart and parsing JSON at every mention.
        return select(*columns).limit(number(-1)).subquery(name)

    def predicate(self, spelled: str) -> TextClause:
        return text(sqlite_predicate(spelled))

    def check(self, column: Expression) -> Expression:
        return UnaryExpression(column, operator=custom_op("+"), type_=column.type)

    def one_by_one(self, column: Expression, value: Expression) -> Expression:
        return column == value

    def skip_locked(self, query: Select[Any], *of: Any) -> Select[Any]:  # noqa: ARG002
        return query

    def lock(self, query: Select[Any], *of: Any) -> Select[Any]:  # noqa: ARG002
        return query  # the whole file is locked

    def share(self, query: Select[Any], *of: Any) -> Select[Any]:  # noqa: ARG002
        return query

    def own(self, columns: Any) -> list[Expression]:
        return list(columns)  # our connections have no converters


class PyformatSqliteDialect(SqliteDialect):
    """SQLite behind a cursor that wants parameters as `%(name)s`, as Django's does."""

    spelling = "sqlite, pyformat"
    sqlalchemy = _Sqlite(paramstyle="pyformat")


def _affinity(kind: Any) -> Any:
    return Text if kind is Text else Integer


_MICROSECOND: Expression = literal_column("interval '1 microsecond'")
_EPOCH: Expression = literal_column("timestamptz 'epoch'")
# Whoever writes SQL by hand may store 'infinity'; no datetime is earlier or later than these.
_FIRST: Expression = literal_column("timestamptz '0001-01-01 00:00:00+00'")
_LAST: Expression = literal_column("timestamptz '9999-12-31 23:59:59.999999+00'")


class PostgresDialect(Dialect):
    name = spelling = "postgresql"
    sqlalchemy = PGDialect_psycopg(paramstyle="pyformat")  # type: ignore[no-untyped-call]
    writes_in_ctes = True
    locks_rows = True
    notifies = True
    has_clock = True
    keeps_dead_entries = True

    def current(self) -> int | None:
        return self.clock.now() if self.clock.frozen else None

    def insert(self, table: Table) -> Any:
        return postgresql.insert(table)

    def now(self) -> Expression:
        # Stable within the statement, so it may bound an index range.
        return func.coalesce(self.instant(param("now", BigInteger)), func.statement_timestamp())

    def instant(self, microseconds: Expression) -> Expression:
        return self.later(_EPOCH, microseconds)

    def later(self, moment: Expression, microseconds: Expression) -> Expression:
        return moment.op("+")(cast(microseconds, BigInteger).op("*")(_MICROSECOND))

    def flag(self, value: Expression) -> Expression:
        return cast(value, Boolean)

    def truth(self, condition: Expression) -> Expression:
        return condition

    def is_set(self, column: Expression) -> Expression:
        return type_coerce(column, Boolean)

    def is_unset(self, column: Expression) -> Expression:
        return not_(type_coerce(column, Boolean))

    def id(self, value: Expression) -> Expression:
        return cast(value, postgresql.UUID(as_uuid=False))

    def json(self, value: Expression) -> Expression:
        return cast(value, postgresql.JSON)

    def wire(self, column: Expression) -> Expression:
        kind = column.type.dialect_impl(self.sqlalchemy)
        if isinstance(kind, DateTime):
            moment = func.least(func.greatest(column, _FIRST), _LAST)  # which would hide a NULL
            micros = cast(extract("epoch", moment) * number(1_000_000), BigInteger)
            return case((column.is_not(None), micros))
        if isinstance(kind, Boolean):
            return cast(column, Integer)
        if isinstance(kind, postgresql.UUID | postgresql.JSON):
            return cast(column, Text)
        return column

    def fence(self) -> Expression:
        # Some servers open a file for each random number: a fifth of a claim, when it was a row's.
        return select(
            func.hashtextextended(cast(func.gen_random_uuid(), Text), number(0))
        ).scalar_subquery()

    def rows(self, name: str, /, **kinds: Any) -> FromClause:
        columns = [Column(column, kind()) for column, kind in kinds.items()]
        source = func.json_to_recordset(cast(param(name), postgresql.JSON))
        return source.table_valued(*columns).render_derived(name=name, with_types=True)

    def predicate(self, spelled: str) -> TextClause:
        return text(spelled)

    def check(self, column: Expression) -> Expression:
        # The index of statuses is full of dead entries for the jobs that just passed through.
        return column.op("||")(literal_column("''"))

    def one_by_one(self, column: Expression, value: Expression) -> Expression:
        # As an array: of two columns that are equal PostgreSQL may walk both, in their order.
        return column == func.any(postgresql.array([value]))

    def skip_locked(self, query: Select[Any], *of: Any) -> Select[Any]:
        return query.with_for_update(skip_locked=True, of=of or None)

    def lock(self, query: Select[Any], *of: Any) -> Select[Any]:
        return query.with_for_update(of=of or None)

    def share(self, query: Select[Any], *of: Any) -> Select[Any]:
        return query.with_for_update(read=True, of=of or None)
