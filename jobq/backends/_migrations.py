"""Bring a database to the schema of this version, step by step.

What a step does is derived from the tables: it adds whatever carries its number. Every step runs
under a lock and records itself in the same transaction, and every step only adds, so that a client
that knows an older schema may go on (`compatible_from`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from sqlalchemy import Index, Table
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from jobq._errors import SchemaError
from jobq.backends import _tables as t
from jobq.backends._columns import Instant
from jobq.backends._dialect import Dialect
from jobq.backends._statement import Call, Op, atomic, reading

T = TypeVar("T", Table, Index)
LOCK = 7_236_410_052_118
"""PostgreSQL's advisory lock of migrations; released at the end of the transaction."""


def _since(thing: object) -> int:
    return getattr(thing, "info", {}).get("since", 1)  # type: ignore[no-any-return]


def statements(d: Dialect, step: int) -> Iterator[str]:
    """The SQL of one step, without its record in `jobq_schema`."""
    for table in t.metadata.sorted_tables:
        if _since(table) == step:
            yield _spell(d, CreateTable(_told(d, table)))
        for column in table.columns:
            if _since(column) == step != _since(table):
                yield f"ALTER TABLE {table.name} ADD COLUMN {_spell(d, CreateColumn(column))}"
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            if _since(index) == step:
                yield _spell(d, CreateIndex(_told(d, index)))
    yield from _view(d)


def _told(d: Dialect, thing: T) -> T:
    """A table or an index with what only this database is told of it."""
    thing.dialect_options[d.name].update(thing.info.get(d.name, {}))
    return thing


def _spell(d: Dialect, element: CreateTable | CreateColumn | CreateIndex) -> str:
    text = str(element.compile(dialect=d.sqlalchemy)).strip()
    if d.name != "sqlite" or not isinstance(element, CreateTable):
        return text
    return f"{text}, STRICT" if text.endswith("WITHOUT ROWID") else f"{text} STRICT"


def _view(d: Dialect) -> Iterator[str]:
    """`jobq_jobs`: the jobs as a person reads them, the same columns on both databases."""
    if d.name == "sqlite":
        yield "DROP VIEW IF EXISTS jobq_jobs"
        columns = ", ".join(_readable(column.name, column.type is Instant) for column in t.job.c)
        yield f"CREATE VIEW jobq_jobs AS SELECT {columns} FROM jobq_job"  # noqa: S608
    else:
        yield "CREATE OR REPLACE VIEW jobq_jobs AS SELECT * FROM jobq_job"


def _readable(name: str, is_instant: bool) -> str:
    if not is_instant:
        return name
    # Through julianday: SQLite's 'unixepoch' modifier drops fractions before version 3.42.
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', {name} / 86400000000.0 + 2440587.5) AS {name}"


def script(d: Dialect, *, since: int = 0) -> str:
    """The SQL that brings a database from version `since` to this one, for other tools to run."""
    lines = []
    for step in range(since + 1, t.SCHEMA_VERSION + 1):
        lines += ["BEGIN;", *(f"{line};" for line in statements(d, step))]
        lines += [f"{record(step)};", "COMMIT;"]
    return "\n".join(lines)


def record(step: int) -> str:
    values = f"({step}, {t.COMPATIBLE_FROM})"
    return f"INSERT INTO jobq_schema (version, compatible_from) VALUES {values}"  # noqa: S608


_EXISTS = {
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'jobq_schema'",
    "postgresql": "SELECT CAST(to_regclass('jobq_schema') IS NOT NULL AS INTEGER)",
}


def _installed(d: Dialect) -> Op[tuple[int, int]]:
    """(version, compatible_from) of a database; (0, 0) where jobq is not installed."""
    [(exists,)] = yield Call(_EXISTS[d.name], {})
    if not exists:
        return 0, 0
    rows = yield Call(
        "SELECT version, compatible_from FROM jobq_schema ORDER BY version DESC LIMIT 1", {}
    )
    return rows[0] if rows else (0, 0)


installed = reading(_installed)


@atomic
def migrate(d: Dialect, *, upto: int | None = None) -> Op[list[int]]:
    """Run the missing steps, one process at a time; their numbers."""
    if d.name == "postgresql":
        yield Call("SET LOCAL lock_timeout = '10s'", {})
        yield Call(f"SELECT pg_advisory_xact_lock({LOCK})", {})
    version, compatible_from = yield from _installed(d)
    if compatible_from > t.SCHEMA_VERSION:
        raise SchemaError(_too_new(version, compatible_from))
    steps = list(range(version + 1, (t.SCHEMA_VERSION if upto is None else upto) + 1))
    for step in steps:
        for line in statements(d, step):
            yield Call(line, {})
        yield Call(record(step), {})
    return steps


def check(version: int, compatible_from: int) -> None:
    """Raise `SchemaError` unless this client may work on a database of that version."""
    if version < t.SCHEMA_VERSION:
        state = f"at version {version}" if version else "not installed"
        raise SchemaError(
            f"jobq's schema is {state} in this database, and this jobq needs "
            f"{t.SCHEMA_VERSION}: run `jobq migrate`, or queue.migrate() in code"
        )
    if compatible_from > t.SCHEMA_VERSION:
        raise SchemaError(_too_new(version, compatible_from))


def _too_new(version: int, compatible_from: int) -> str:
    return (
        f"this database has jobq's schema {version}, which needs a jobq that knows schema "
        f"{compatible_from} or newer; this one knows {t.SCHEMA_VERSION}: upgrade jobq"
    )
