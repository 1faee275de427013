"""Columns as both databases hold them: instants, ids and JSON."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from jobq._clock import from_datetime, to_datetime
from jobq._errors import OptionError
from jobq._model import job_id


class InstantField(models.DateTimeField):
    """`timestamptz` on PostgreSQL, integer microseconds on SQLite; an aware datetime here."""

    def get_internal_type(self) -> str:
        """None that a database has converters for."""
        return "InstantField"

    def from_db_value(self, value: Any, *_: Any) -> datetime | None:
        """A datetime in UTC."""
        return to_datetime(value) if isinstance(value, int) else value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """What a query compares with."""
        value = value if prepared else self.get_prep_value(value)
        if connection.vendor != "sqlite" or not isinstance(value, datetime):
            return value
        aware = value if timezone.is_aware(value) else timezone.make_aware(value)
        return from_datetime(aware, name=self.name)


class _AsText:
    """A column that is read as text, whatever loader the driver has for it."""

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        """Django's hook for a column in a SELECT."""
        if compiler.connection.vendor == "postgresql":
            sql = f"({sql})::text"
        return sql, params


class IdField(_AsText, models.CharField):
    """A job's id, as text."""

    def to_python(self, value: Any) -> str | None:
        """The id in its canonical form. Raises `ValidationError`."""
        try:
            return None if value is None else job_id(value)
        except OptionError as error:
            raise ValidationError(str(error), code="invalid") from None

    def get_prep_value(self, value: Any) -> Any:
        """What a query compares with; for some lookups that is a part of an id."""
        return value if value is None or hasattr(value, "resolve_expression") else str(value)


class JsonField(_AsText, models.TextField):
    """JSON."""

    def from_db_value(self, value: Any, *_: Any) -> Any:
        """The value. A hand-written INSERT may hold text that is none; it is shown as it is."""
        try:
            return None if value is None else json.loads(value)
        except ValueError:
            return value
