"""What statements say to SQLite."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    TextClause,
    case,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from jobq.backends._columns import sqlite_predicate
from jobq.backends._dialect import Dialect, Expression, number, param


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

    def pyformat(self) -> Dialect:
        return PyformatSqliteDialect(self.clock)

    def own(self, columns: Any) -> list[Expression]:
        return list(columns)  # our connections have no converters


class PyformatSqliteDialect(SqliteDialect):
    """SQLite behind a cursor that wants parameters as `%(name)s`, as Django's does."""

    spelling = "sqlite, pyformat"
    sqlalchemy = _Sqlite(paramstyle="pyformat")


def _affinity(kind: Any) -> Any:
    return Text if kind is Text else Integer
