"""Django is set up once a process, with a database of each kind; each test finds them empty."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.django.configured import configure
from tests.pairs import keep_one_each

configure()

from django.core.management import call_command  # noqa: E402  needs the settings
from django.db import connections  # noqa: E402
from django.db.transaction import atomic  # noqa: E402
from django.test import override_settings  # noqa: E402

from jobq.contrib.django import DjangoQueue  # noqa: E402
from jobq.contrib.django import queue as project_queue  # noqa: E402


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    keep_one_each(config, items, "alias")


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory, postgres_database: str) -> Iterator[None]:
    """Migrated databases behind the aliases."""
    folder = tmp_path_factory.mktemp("django")
    for alias in ("default", "other"):
        connections[alias].settings_dict["NAME"] = str(folder / f"{alias}.sqlite3")
    server = urlsplit(postgres_database)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS django")
        connection.execute("CREATE DATABASE django")
    connections["postgresql"].settings_dict.update(
        NAME="django",
        USER=server.username,
        PASSWORD=server.password,
        HOST=server.hostname,
        PORT=server.port,
    )
    for alias in connections:
        call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
    yield
    connections.close_all()


@pytest.fixture
def clean(databases: None) -> Iterator[None]:
    yield
    for alias in connections:
        _empty(alias)


KEPT = {"django_migrations", "django_content_type", "auth_permission", "jobq_schema"}


def _empty(alias: str) -> None:
    """Delete what a test has left: `flush` would make permissions and such anew each time."""
    connection = connections[alias]
    with atomic(alias), connection.cursor() as cursor:
        for table in set(connection.introspection.table_names(cursor)) - KEPT:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


@pytest.fixture(params=["default", "postgresql"])
def alias(request: pytest.FixtureRequest, clean: None) -> Iterator[str]:
    """A database of each kind in turn, as the one that the project keeps its jobs in."""
    with override_settings(JOBQ={"DATABASE": request.param}):
        yield request.param


@pytest.fixture
def queue(alias: str) -> DjangoQueue:
    """The project's queue."""
    return project_queue
