"""Fixtures for tests of code that uses jobq; pytest finds them by itself.

- `jobq_queue`: a `Queue` on a temporary SQLite file, empty, with the default router.
- `jobq_postgres_queue`: the same on PostgreSQL, on the server that `JOBQ_TEST_POSTGRES_URL` names
  or else on a private one.
- `jobq_postgres_url`: the URL of that empty, migrated database.
- `jobq_clock`: the `FrozenClock` of both queues.
- `jobq_options`: override it to give the queues options of your own.

In asynchronous tests use `jobq_queue.aio`; its connections are closed when the test ends, and so
are
those of any queue that a fixture of your own gives to the test.

>>> @pytest.fixture  # in conftest.py
... def jobq_options():
...     return {"router": myapp.jobs.router, "lifespan": fake_lifespan}
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jobq import Queue
    from jobq.testing import FrozenClock


@pytest.fixture
def jobq_clock() -> FrozenClock:
    """The clock of `jobq_queue` and `jobq_postgres_queue`; it stands still until it is moved."""
    from jobq.testing import FrozenClock

    return FrozenClock()


@pytest.fixture
def jobq_options() -> dict[str, Any]:
    """Options of the queues, such as `router` and `lifespan`; override it to choose them."""
    return {}


@pytest.fixture
def jobq_queue(
    tmp_path_factory: pytest.TempPathFactory,
    jobq_clock: FrozenClock,
    jobq_options: dict[str, Any],
) -> Iterator[Queue]:
    """An empty queue on a temporary SQLite file."""
    path = tmp_path_factory.mktemp("jobq") / "jobs.db"
    yield from _queue(f"sqlite:///{path}", jobq_clock, jobq_options)


@pytest.fixture
def jobq_postgres_queue(
    jobq_postgres_url: str, jobq_clock: FrozenClock, jobq_options: dict[str, Any]
) -> Iterator[Queue]:
    """An empty queue on PostgreSQL."""
    yield from _queue(jobq_postgres_url, jobq_clock, jobq_options)


def _queue(url: str, clock: FrozenClock, options: dict[str, Any]) -> Iterator[Queue]:
    from jobq import Queue

    with Queue(url, **{"clock": clock, **options}) as queue:
        yield queue


@pytest.fixture(scope="session")
def _jobq_postgres_database() -> Iterator[str]:
    from jobq import Queue
    from jobq.testing._postgres import postgres_url

    with postgres_url() as url:
        with Queue(url) as queue:
            queue.migrate()
        yield url


@pytest.fixture
def jobq_postgres_url(_jobq_postgres_database: str) -> str:
    """The URL of an empty, migrated PostgreSQL database; the tests of a session take turns."""
    _empty(_jobq_postgres_database)
    return _jobq_postgres_database


def _empty(url: str) -> None:
    import psycopg
    from psycopg import sql

    from jobq.backends import _tables

    tables = [name for name in _tables.metadata.tables if name != _tables.schema.name]
    with psycopg.connect(url, autocommit=True) as connection:
        # A test that left a transaction open is told so, instead of being waited for.
        connection.execute("SET lock_timeout = '10s'")
        names = sql.SQL(", ").join(map(sql.Identifier, tables))
        connection.execute(sql.SQL("TRUNCATE {}").format(names))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Close the connections that a test's event loop has made, while that can still run."""
    queues = _queues_of(pyfuncitem)
    if queues and inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = _closing(pyfuncitem.obj, queues)
    try:
        return (yield)
    finally:
        for queue in queues:
            _close_loops(queue)


def _queues_of(test: pytest.Function) -> list[Queue]:
    """The queues among a test's fixtures, whoever made them."""
    jobq = sys.modules["jobq"]
    found = [value for value in test.funcargs.values() if isinstance(value, jobq.Queue)]
    faces = [value for value in test.funcargs.values() if isinstance(value, jobq.AsyncQueue)]
    return list({id(queue): queue for queue in found + [face.sync for face in faces]}.values())


def _closing(test: Any, queues: list[Queue]) -> Any:
    """The test of a plugin that ends the loop with it, as anyio's does."""

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        try:
            await test(*args, **kwargs)
        finally:
            for queue in queues:
                await queue.aio.aclose()

    return run


def _close_loops(queue: Queue) -> None:
    """The loop of a plugin that keeps it for a while, as pytest-asyncio does."""
    opened = queue.aio._opened  # noqa: SLF001  the same house
    for loop, store in list(opened.items()):
        if not loop.is_closed() and not loop.is_running():
            loop.run_until_complete(store.aclose())
            del opened[loop]
