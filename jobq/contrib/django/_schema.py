"""jobq's own numbered steps as Django migrations: there is one owner of the tables."""

from __future__ import annotations

import inspect
from typing import Any

from django.core.management.commands.flush import Command as Flush
from django.db import connections, router
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from jobq._clock import SystemClock
from jobq.backends import _migrations, _tables
from jobq.backends._statement import Call, Op, atomic
from jobq.contrib.django._database import VENDORS
from jobq.contrib.django._store import DjangoStore, dialect_of

APP = "jobq"


class Step(Operation):
    """Run jobq's schema step of this number, unless `jobq_schema` says that it was run.

    It cannot be undone: steps only ever add, and jobs are not thrown away by accident.
    """

    reduces_to_sql = True
    reversible = False
    elidable = False

    def __init__(self, number: int) -> None:
        self.number = number

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The tables are not Django's."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: Any,
        from_state: Any,
        to_state: Any,
    ) -> None:
        """Run it, or print it for `sqlmigrate`."""
        alias = schema_editor.connection.alias
        if not _is_home(alias) or not router.allow_migrate(alias, app_label):
            return
        if not schema_editor.collect_sql:
            bring_up(alias, upto=self.number)
            return
        dialect = dialect_of(alias, SystemClock())
        for line in (
            *_migrations.statements(dialect, self.number),
            _migrations.record(self.number),
        ):
            schema_editor.execute(line, params=None)

    def database_backwards(self, *_: Any) -> None:
        """Never asked for."""

    def describe(self) -> str:
        """What `migrate --plan` shows."""
        return f"jobq's schema step {self.number}"


def _is_home(alias: str) -> bool:
    """Whether jobq can live in a database at all."""
    return connections[alias].vendor in VENDORS


def bring_up(alias: str, *, upto: int | None = None) -> None:
    """Run the missing steps."""
    DjangoStore(alias, SystemClock()).run(_migrations.migrate, upto=upto)


def after_migrate(using: str, **_: Any) -> None:
    """Where the project runs no migrations, have the tables; after a flush, have them empty."""
    if not _is_home(using) or not router.allow_migrate(using, APP):
        return
    if MigrationLoader.migrations_module(APP)[0] is None:
        bring_up(using)
    if _is_flush():
        DjangoStore(using, SystemClock()).run(_empty)


def _is_flush() -> bool:
    """Whether `flush` has sent the signal: the same one asks for permissions anew, say."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not Flush.handle.__code__:
        frame = frame.f_back
    return frame is not None


@atomic
def _empty(d: Any) -> Op[None]:
    version, _ = yield from _migrations.installed(d)
    for name in _tables.metadata.tables if version else ():
        if name != _tables.schema.name:
            yield Call(f"DELETE FROM {name}", {})  # noqa: S608  our own tables
