"""The Django app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class JobqConfig(AppConfig):
    """Finds each app's `jobs` module, and registers the system checks."""

    name = "jobq.contrib.django"
    label = "jobq"
    verbose_name = "Jobs"

    def ready(self) -> None:
        """Called by Django once all models are there."""
        from jobq.contrib.django import checks
        from jobq.contrib.django._schema import after_migrate

        checks.register()
        post_migrate.connect(after_migrate, sender=self)
        setting_changed.connect(_forget)
        autodiscover_modules("jobs")


def _forget(setting: str, **_: Any) -> None:
    """Tests change settings; the queue reads them anew."""
    if setting in ("JOBQ", "DATABASES", "TASKS"):
        from jobq.contrib.django import queue

        queue.forget()
