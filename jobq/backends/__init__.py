"""Where jobs live: SQLite or PostgreSQL, behind the same statements.

`connect` is the only place that knows both. The engine sees the protocols below, and the units of
work in `ops`; drivers and SQLAlchemy are imported when the first queue is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from jobq._clock import Clock
from jobq._errors import ConfigurationError
from jobq.backends._options import SqliteOptions, parse

if TYPE_CHECKING:
    from jobq.backends import callers, ops
    from jobq.backends._dialect import Dialect
    from jobq.backends._statement import Op

T = TypeVar("T")


class Store(Protocol):
    """A database for synchronous callers; safe to share between threads."""

    dialect: Dialect

    def run(self, op: Callable[..., Op[T]], *args: Any, **kwargs: Any) -> T: ...
    def bulk(self, rows: Sequence[Any]) -> int: ...
    def notifies_now(self, queue: str) -> bool: ...
    def notified(self, queue: str) -> None: ...
    def notify(self, queue: str) -> None: ...
    def migrate(self) -> list[int]: ...
    def close(self) -> None: ...


class AsyncStore(Protocol):
    """A database for one event loop."""

    dialect: Dialect

    async def run(self, op: Callable[..., Op[T]], *args: Any, **kwargs: Any) -> T: ...
    async def bulk(self, rows: Sequence[Any]) -> int: ...
    def notifies_now(self, queue: str) -> bool: ...
    def notified(self, queue: str) -> None: ...
    def notify(self, queue: str) -> None: ...
    async def migrate(self) -> list[int]: ...
    async def aclose(self) -> None: ...


class Backend(Protocol):
    """A database, not yet connected."""

    name: str
    url: str
    identity: str
    """The same for every queue of this process that has its jobs in the same place."""
    fallback_poll: float
    """How long a worker may sleep without a hint, in seconds, as things stand."""
    joins_claims: bool
    """Whether ending jobs and claiming the next ones may be one unit of work."""
    dialect: Dialect

    def store(self) -> Store: ...
    def async_store(self, within: float | None = None) -> AsyncStore:
        """A store for an event loop; nobody waits longer for an answer than `within`, in seconds.

        That holds for the next two as well. What waits for a writer on SQLite has a bound already.
        """

    def lease_store(self, within: float) -> Store:
        """A store for renewals, that nobody else can hold up."""

    def outcome_store(self, within: float) -> AsyncStore | None:
        """A store for outcomes, that nobody else can hold up; `None` where any will do."""

    def script(self, since: int = 0) -> str: ...
    async def held_up(self, store: Any, *, seconds: float) -> str | None:
        """What has kept the database from clearing up for so long, if something has."""

    async def watch(
        self, store: AsyncStore, hint: Callable[[], None], idle: Callable[[], float]
    ) -> None: ...


def connect(url: str, clock: Clock, **options: Any) -> Backend:
    """The backend of a URL. Its drivers are imported now, connections are made when used."""
    parsed = parse(url, options)
    if isinstance(parsed, SqliteOptions):
        from jobq.backends.sqlite import SqliteBackend

        return cast("Backend", SqliteBackend(parsed, url, clock))
    try:
        from jobq.backends.postgres import PostgresBackend
    except ImportError as error:
        raise ConfigurationError(
            f"PostgreSQL needs psycopg: pip install 'jobq[postgres]' ({error})"
        ) from error
    return cast("Backend", PostgresBackend(parsed, url, clock))


def __getattr__(name: str) -> Any:
    if name in ("ops", "callers"):
        return import_module(f"jobq.backends.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["AsyncStore", "Backend", "Store", "callers", "connect", "ops", "parse"]
