"""What statements say to PostgreSQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    TextClause,
    Uuid,
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
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from jobq.backends._dialect import Dialect, Expression, number, param

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
        return cast(value, Uuid(as_uuid=False))

    def json(self, value: Expression) -> Expression:
        return cast(value, JSON)

    def wire(self, column: Expression) -> Expression:
        kind = column.type.dialect_impl(self.sqlalchemy)
        if isinstance(kind, DateTime):
            moment = func.least(func.greatest(column, _FIRST), _LAST)  # which would hide a NULL
            micros = cast(extract("epoch", moment) * number(1_000_000), BigInteger)
            return case((column.is_not(None), micros))
        if isinstance(kind, Boolean):
            return cast(column, Integer)
        if isinstance(kind, Uuid | JSON):
            return cast(column, Text)
        return column

    def fence(self) -> Expression:
        # Some servers open a file for each random number: a fifth of a claim, when it was a row's.
        return select(
            func.hashtextextended(cast(func.gen_random_uuid(), Text), number(0))
        ).scalar_subquery()

    def rows(self, name: str, /, **kinds: Any) -> FromClause:
        columns = [Column(column, kind()) for column, kind in kinds.items()]
        source = func.json_to_recordset(cast(param(name), JSON))
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
