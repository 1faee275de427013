"""Django's migrations call jobq's own numbered steps: nobody owns the tables twice."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.sql import emit_post_migrate_signal
from django.db import connections
from django.db.migrations.exceptions import IrreversibleError
from django.test import override_settings

import jobq
from jobq.backends import _migrations, _tables
from jobq.contrib.django import _database, models
from jobq.contrib.django import queue as project_queue


@pytest.fixture(params=["other", "postgresql"])
def empty(
    request: pytest.FixtureRequest, clean: None, tmp_path: Path, postgres_database: str
) -> Iterator[str]:
    """The alias of a database with nothing in it."""
    alias = request.param
    connection = connections[alias]
    connection.close()
    before = connection.settings_dict["NAME"]
    name = str(tmp_path / "empty.sqlite3")
    if alias == "postgresql":
        name = "empty"
        with psycopg.connect(postgres_database, autocommit=True) as server:
            server.execute("DROP DATABASE IF EXISTS empty")
            server.execute("CREATE DATABASE empty")
    connection.settings_dict["NAME"] = name
    yield alias
    connection.close()
    connection.settings_dict["NAME"] = before


def schema(alias: str) -> set[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT sql FROM sqlite_master WHERE name LIKE 'jobq%%' AND sql IS NOT NULL"
            if alias == "other"
            else "SELECT table_name || '.' || column_name || ' ' || data_type "
            "FROM information_schema.columns WHERE table_name LIKE 'jobq%%' "
            "UNION SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'jobq%%'"
        )
        return {row[0] for row in cursor.fetchall()}


def versions(alias: str) -> list[int]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT version FROM jobq_schema ORDER BY version")
        return [row[0] for row in cursor.fetchall()]


EVERY = list(range(1, _tables.SCHEMA_VERSION + 1))


def migrate(alias: str, *args: str) -> None:
    call_command("migrate", *args, database=alias, verbosity=0)


def test_migrate_makes_the_tables_that_jobq_migrate_makes(empty: str) -> None:
    migrate(empty, "jobq")
    by_django = schema(empty)
    assert versions(empty) == EVERY
    with connections[empty].cursor() as cursor:
        cursor.execute("DROP VIEW jobq_jobs")
        for table in _tables.metadata.tables:
            cursor.execute(f"DROP TABLE {table}")
    with jobq.Queue(_database.url(empty)) as queue:
        queue.migrate()
        queue.counts()
    assert schema(empty) == by_django


def test_migrate_finds_nothing_to_do_where_jobq_migrate_has_run(empty: str) -> None:
    with jobq.Queue(_database.url(empty)) as queue:
        queue.migrate()
        job = queue.enqueue("shop.fail", None)
    migrate(empty, "jobq")
    assert project_queue.using(empty).get(job.id).id == job.id
    assert versions(empty) == EVERY


def test_migrate_may_run_again(empty: str) -> None:
    migrate(empty, "jobq")
    with connections[empty].cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'jobq'")
    migrate(empty, "jobq")
    assert versions(empty) == EVERY


def test_projects_without_migrations_get_the_tables_too(empty: str) -> None:
    with override_settings(MIGRATION_MODULES={"jobq": None, "shop": None}):
        call_command("migrate", database=empty, run_syncdb=True, verbosity=0)
    assert versions(empty) == EVERY


def test_the_migration_cannot_be_undone_by_accident(empty: str) -> None:
    migrate(empty, "jobq")
    with pytest.raises(IrreversibleError):
        migrate(empty, "jobq", "zero")
    assert versions(empty) == EVERY


def test_a_router_keeps_the_tables_out_of_a_database(empty: str) -> None:
    with override_settings(DATABASE_ROUTERS=[f"{__name__}.NoJobs"]):
        migrate(empty, "jobq")
    assert schema(empty) == set()


class NoJobs:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "jobq" else None


def test_sqlmigrate_prints_the_step(empty: str) -> None:
    output = io.StringIO()
    call_command("sqlmigrate", "jobq", "0001", database=empty, stdout=output, no_color=True)
    dialect: Any = jobq.Queue(_database.url(empty))._config.backend.dialect
    printed = output.getvalue()
    assert all(line in printed for line in _migrations.statements(dialect, 1))
    assert "INSERT INTO jobq_schema" in printed
    assert schema(empty) == set()


def test_makemigrations_finds_nothing_to_do(databases: None) -> None:
    call_command("makemigrations", "jobq", check=True, dry_run=True, verbosity=0)


def test_every_step_has_a_migration() -> None:
    folder = Path(models.__file__).parent / "migrations"
    steps = [
        step
        for step in EVERY
        if any(f"Step({step})" in p.read_text() for p in folder.glob("0*.py"))
    ]
    assert steps == EVERY


def test_the_models_name_columns_that_exist(queue: Any, alias: str) -> None:
    for model in (models.Job, models.Attempt, models.Worker, models.Queue):
        table = _tables.metadata.tables[model._meta.db_table]
        columns = {field.column for field in model._meta.concrete_fields if field.column}
        assert columns <= {column.name for column in table.columns}
        assert list(model.objects.all()) == []


def test_flush_removes_the_jobs_as_well(queue: Any, alias: str) -> None:
    queue.enqueue("shop.fail", None)
    call_command("flush", database=alias, interactive=False, verbosity=0)
    assert queue.list().jobs == ()
    assert versions(alias) == EVERY


def test_migrate_removes_no_job(queue: Any, alias: str) -> None:
    queue.enqueue("shop.fail", None)
    migrate(alias)
    assert len(queue.list().jobs) == 1


def test_asking_for_permissions_anew_removes_no_job(queue: Any, alias: str) -> None:
    queue.enqueue("shop.total", {"using": alias})
    emit_post_migrate_signal(verbosity=0, interactive=False, db=alias)
    assert queue.counts()["pending"] == 1
