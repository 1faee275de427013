"""The tables of jobq's schema 1.

Of models that Django does not manage it keeps track by their name and options alone.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models

from jobq.contrib.django._schema import Step


def _unmanaged(name: str, table: str, ordering: str, key: str = "id") -> migrations.CreateModel:
    options = {"db_table": table, "ordering": (ordering,), "abstract": False, "managed": False}
    return migrations.CreateModel(name, [(key, models.TextField(primary_key=True))], options)


class Migration(migrations.Migration):
    """jobq's step 1, and the models that read what it made."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar[list[object]] = [
        Step(1),
        _unmanaged("Job", "jobq_job", "-id"),
        _unmanaged("Attempt", "jobq_attempt", "started_at"),
        _unmanaged("Worker", "jobq_worker", "label"),
        _unmanaged("Queue", "jobq_queue", "queue", key="queue"),
    ]
