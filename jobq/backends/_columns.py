"""How columns are typed and defaults are spelled on both databases.

On PostgreSQL instants are `timestamptz`, ids `uuid`, flags `boolean`, JSON `json` (not `jsonb`:
a payload comes back exactly as it went in, on both databases). On SQLite instants are integer
microseconds, flags 0 or 1, ids and JSON text.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ClauseElement
from sqlalchemy.types import TypeEngine

Instant: TypeEngine[Any] = Integer().with_variant(DateTime(timezone=True), "postgresql")
Json: TypeEngine[Any] = Text().with_variant(JSON(), "postgresql")
Id: TypeEngine[Any] = Text().with_variant(Uuid(as_uuid=False), "postgresql")
Flag: TypeEngine[Any] = Integer().with_variant(Boolean(), "postgresql")
Number: TypeEngine[Any] = Integer()
Small: TypeEngine[Any] = Integer().with_variant(SmallInteger(), "postgresql")
Big: TypeEngine[Any] = Integer().with_variant(BigInteger(), "postgresql")


class PerDialect(ClauseElement):
    """A server default that reads differently on each database."""

    inherit_cache = False

    def __init__(self, *, sqlite: str, postgresql: str) -> None:
        self.by_dialect = {"sqlite": sqlite, "postgresql": postgresql}


@compiles(PerDialect)
def _spell(element: PerDialect, compiler: Any, **_: Any) -> str:
    return element.by_dialect[compiler.dialect.name]


NOW = PerDialect(
    # julianday() is good to a millisecond, all that a hand-written INSERT needs.
    sqlite="(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000)",
    postgresql="now()",
)
RANDOM_ID: Any = PerDialect(
    sqlite=(
        "(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || "
        "substr(hex(randomblob(2)), 2) || '-a' || substr(hex(randomblob(2)), 2) || '-' || "
        "hex(randomblob(6))))"
    ),
    postgresql="gen_random_uuid()",
)
NO = PerDialect(sqlite="0", postgresql="false")


def column(name: str, kind: TypeEngine[Any], default: Any = None) -> Column[Any]:
    """A column that may be left out of an INSERT: it has a default, or may be NULL."""
    server_default: Any = text(default) if isinstance(default, str) else default
    return Column(name, kind, nullable=default is None, server_default=server_default)


def required(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=False)


def in_words(values: frozenset[Any]) -> str:
    """`'a', 'b'`, for a predicate that an index and a statement must spell alike."""
    return ", ".join(f"'{value}'" for value in sorted(values))


def sqlite_predicate(where: str) -> str:
    """The predicate with its flags spelled out: SQLite matches index and query word by word."""
    flag = r"(NOT )?\b(declared|ready|webhook_sent)\b"
    return re.sub(flag, lambda match: f"{match[2]} = {0 if match[1] else 1}", where)
