"""What a queue's URL and options say about its database. No driver is needed to know that."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import frozen

from jobq._errors import ConfigurationError
from jobq._masking import hide_dsn, mask

_SQLITE = ("sqlite",)
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2")
_SYNCHRONOUS = ("FULL", "NORMAL", "EXTRA")


@frozen(kw_only=True)
class SqliteOptions:
    """Where the file is and how it is opened; read from the URL."""

    path: str
    synchronous: str = "FULL"
    patience: float = 30.0
    """How long a unit of work waits for another writer, in seconds."""


def _parse_sqlite(url: str) -> SqliteOptions:
    """`sqlite:///relative.db`, `sqlite:////absolute.db`, `?synchronous=normal&patience=10`."""
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.netloc or not path or path == ":memory:":
        raise ConfigurationError(
            f"{url!r} names no file; use sqlite:///jobs.db (relative) or sqlite:////var/jobs.db. "
            f"An in-memory database is private to one connection; jobq.testing has temporary files"
        )
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    synchronous = query.pop("synchronous", "FULL").upper()
    if synchronous not in _SYNCHRONOUS:
        raise ConfigurationError(f"synchronous={synchronous!r} is none of {_SYNCHRONOUS}")
    try:
        patience = float(query.pop("patience", 30.0))
    except ValueError:
        raise ConfigurationError(f"patience in {url!r} is not a number of seconds") from None
    if query:
        raise ConfigurationError(f"{url!r}: unknown options {sorted(query)}")
    return SqliteOptions(path=path, synchronous=synchronous, patience=patience)


@frozen(kw_only=True)
class PostgresOptions:
    """How to connect.

    Statements are prepared unless a transaction pooler stands between, where they would meet those
    of other clients. `prepare=True` is for a PgBouncer that keeps them apart (1.21 or newer, with
    `max_prepared_statements`); `False` never prepares.
    """

    url: str
    listen_url: str | None = None
    pool_size: int = 10
    prepare: bool | None = None
    patience: float = 5.0
    """How long a call goes on trying while the server cannot be reached, in seconds."""


def _parse_postgres(url: str, **options: Any) -> PostgresOptions:
    """`postgresql://user:password@host/database`; SQLAlchemy's `postgresql+psycopg://` as well."""
    scheme, _, rest = url.partition("://")
    plain = "postgresql://" + rest
    try:
        parts = urlsplit(plain)
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{scheme}://… is no PostgreSQL URL: {error}") from None
    try:
        return PostgresOptions(url=plain, **options)
    except TypeError as error:
        raise ConfigurationError(f"PostgreSQL queue: {error}") from None


def parse(url: object, options: dict[str, Any]) -> SqliteOptions | PostgresOptions:
    """Check a queue's URL and options. Raises `ConfigurationError`; nothing is opened."""
    if not isinstance(url, str):
        raise ConfigurationError(f"the queue's URL must be text, not {url!r}")
    scheme = url.partition("://")[0]
    if scheme not in _SQLITE + _POSTGRES:
        raise ConfigurationError(
            f"{mask(url)!r} is no database that jobq knows; "
            f"use sqlite:///jobs.db or postgresql://user:password@host/database"
        )
    hide_dsn(url)
    if scheme in _POSTGRES:
        return _parse_postgres(url, **options)
    if options:
        raise ConfigurationError(f"options of PostgreSQL on a SQLite queue: {sorted(options)}")
    return _parse_sqlite(url)
