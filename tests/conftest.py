"""Every promise is tested on both databases: `url` and `queue` run a test twice.

Fixtures give objects, never running things; a test starts its workers itself.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

import jobq
from jobq.backends import _tables
from jobq.testing._postgres import postgres_url

# A test's time is nobody's promise.
hypothesis.settings.register_profile(
    "house", deadline=None, max_examples=int(os.environ.get("JOBQ_EXAMPLES", "50"))
)
hypothesis.settings.load_profile("house")

TABLES = sorted(_tables.metadata.tables.keys() - {"jobq_schema"})
FILLED = " UNION ALL ".join(
    f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in TABLES
)


@pytest.fixture(scope="session")
def postgres_database() -> Iterator[str]:
    """A migrated PostgreSQL database for this test process."""
    with postgres_url() as url:
        with jobq.Queue(url) as queue:
            queue.migrate()
        yield url


@pytest.fixture
def postgres(postgres_database: str) -> str:
    """The URL of an empty PostgreSQL queue."""
    import psycopg

    with psycopg.connect(postgres_database, autocommit=True) as connection:
        # To empty one table takes as long as a whole test: only those that have rows.
        if filled := [name for (name,) in connection.execute(FILLED)]:
            connection.execute(f"TRUNCATE {', '.join(filled)}")
    return postgres_database


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The URL of a fresh SQLite queue."""
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty queue, on each database in turn."""
    name = "postgres" if request.param == "postgresql" else "sqlite"
    return str(request.getfixturevalue(name))


@pytest.fixture
def router() -> jobq.Router:
    return jobq.Router()


@pytest.fixture
def queue(url: str, router: jobq.Router) -> Iterator[jobq.Queue]:
    """An empty queue with handlers of its own."""
    with jobq.Queue(url, router=router) as queue:
        yield queue


@pytest.fixture
async def aqueue(queue: jobq.Queue) -> AsyncIterator[jobq.AsyncQueue]:
    """The asynchronous face of `queue`."""
    yield queue.aio
    await queue.aio.aclose()
