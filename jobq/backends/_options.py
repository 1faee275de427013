"""What a queue's URL and options say about its database. No driver is needed to know that."""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import field, frozen

from jobq._errors import ConfigurationError
from jobq._masking import hide_dsn, shown_url, unquoted

_SQLITE = ("sqlite",)
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2")
_SYNCHRONOUS = ("FULL", "NORMAL", "EXTRA")
_HOST = re.compile(r"(?:\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?")
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@frozen(kw_only=True)
class SqliteOptions:
    """Where the file is and how it is opened; read from the URL."""

    path: str
    synchronous: str = "FULL"
    patience: float = 30.0
    """How long a unit of work waits for another writer, in seconds."""

    def __attrs_post_init__(self) -> None:
        _check_seconds("patience", self.patience)


def _check_text(url: str) -> None:
    if _UNUSABLE.search(url):
        raise ConfigurationError(
            f"{shown_url(url)!r} has a control character or a lone surrogate in it; "
            f"write it as % and two hexadecimal digits, or leave it out"
        )


def _check_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigurationError(f"{name}={value!r} must be a number of seconds, 0 or more")


def _parse_sqlite(url: str) -> SqliteOptions:
    """`sqlite:///relative.db`, `sqlite:////absolute.db`, `?synchronous=normal&patience=10`."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        shown = shown_url(url)
        reason = unquoted(str(error), shown)
        raise ConfigurationError(f"{shown!r} is no SQLite URL: {reason}") from None
    path = unquote(parts.path)[1:]
    if "\x00" in path:
        raise ConfigurationError(f"{shown_url(url)!r}: a file's name cannot have a NUL in it")
    if parts.netloc or not path or path == ":memory:":
        raise ConfigurationError(
            f"{shown_url(url)!r} names no file; use sqlite:///jobs.db (relative) or "
            f"sqlite:////var/jobs.db. An in-memory database is private to one connection; "
            f"jobq.testing has temporary files"
        )
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    synchronous = query.pop("synchronous", "FULL").upper()
    if synchronous not in _SYNCHRONOUS:
        raise ConfigurationError(f"synchronous={synchronous!r} is none of {_SYNCHRONOUS}")
    try:
        patience = float(query.pop("patience", 30.0))
    except ValueError:
        shown = shown_url(url)
        raise ConfigurationError(f"patience in {shown!r} is not a number of seconds") from None
    if query:
        raise ConfigurationError(f"{shown_url(url)!r}: unknown options {sorted(query)}")
    return SqliteOptions(path=path, synchronous=synchronous, patience=patience)


@frozen(kw_only=True)
class PostgresOptions:
    """How to connect.

    Statements are prepared unless a transaction pooler stands between, where they would meet those
    of other clients. `prepare=True` is for a PgBouncer that keeps them apart (1.21 or newer, with
    `max_prepared_statements`); `False` never prepares.
    """

    url: str = field(repr=shown_url)
    listen_url: str | None = field(default=None, repr=lambda url: url and shown_url(url))
    pool_size: int = 10
    prepare: bool | None = None
    patience: float = 5.0
    """How long a call goes on trying while the server cannot be reached, in seconds."""
    statement_timeout: float | None = 15.0
    """How long a statement may go without an answer, in seconds: then the server ends it, or else
    its connection is closed. `None` is for ever."""

    def __attrs_post_init__(self) -> None:
        if self.listen_url is not None:
            if not isinstance(self.listen_url, str):
                shown = shown_url(repr(self.listen_url))
                raise ConfigurationError(f"listen_url must be text, not {shown}")
            hide_dsn(self.listen_url)
            _check_text(self.listen_url)
        if isinstance(self.pool_size, bool) or not isinstance(self.pool_size, int):
            raise ConfigurationError(f"pool_size={self.pool_size!r} must be an integer from 1")
        if self.pool_size < 1:
            raise ConfigurationError(f"pool_size={self.pool_size!r} must be an integer from 1")
        _check_seconds("patience", self.patience)
        if self.statement_timeout is not None:
            _check_seconds("statement_timeout", self.statement_timeout)
            if not self.statement_timeout:
                raise ConfigurationError("statement_timeout must be above 0, or None for no bound")


def _parse_postgres(url: str, **options: Any) -> PostgresOptions:
    """`postgresql://user:password@host/database`; SQLAlchemy's `postgresql+psycopg://` as well."""
    rest = url.partition("://")[2]
    plain = "postgresql://" + rest
    if not _has_hosts(rest):
        raise ConfigurationError(
            f"{shown_url(url)!r} is no PostgreSQL URL: a port is not a number from 0 to 65535 "
            f"(in a user's name or password, write / as %2F, ? as %3F, @ as %40 and # as %23)"
        )
    try:
        return PostgresOptions(url=plain, **options)
    except TypeError as error:
        raise ConfigurationError(f"PostgreSQL queue: {error}") from None


def _has_hosts(rest: str) -> bool:
    """Whether the hosts of a URL, which may be several between commas, have ports or none."""
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    hosts = map(_HOST.fullmatch, authority.rpartition("@")[2].split(","))
    return all(host is not None and int(host[1] or 0) <= 65535 for host in hosts)


def parse(url: object, options: dict[str, Any]) -> SqliteOptions | PostgresOptions:
    """Check a queue's URL and options. Raises `ConfigurationError`; nothing is opened."""
    if not isinstance(url, str):
        raise ConfigurationError(f"the queue's URL must be text, not {shown_url(repr(url))}")
    scheme = url.partition("://")[0]
    if scheme not in _SQLITE + _POSTGRES:
        raise ConfigurationError(
            f"{shown_url(url)!r} is no database that jobq knows; "
            f"use sqlite:///jobs.db or postgresql://user:password@host/database"
        )
    hide_dsn(url)
    _check_text(url)
    if scheme in _POSTGRES:
        return _parse_postgres(url, **options)
    if options:
        raise ConfigurationError(f"options of PostgreSQL on a SQLite queue: {sorted(options)}")
    return _parse_sqlite(url)
