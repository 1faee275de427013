"""jobq in a Django project.

Put `"jobq.contrib.django"` into INSTALLED_APPS and run `manage.py migrate`. Jobs then live in
`DATABASES["default"]`; handlers are found in each app's `jobs` module.

>>> from jobq.contrib.django import queue
>>> with transaction.atomic():
...     order = Order.objects.create(total=12)
...     queue.enqueue("send_receipt", {"order": order.pk})  # commits or vanishes with the order
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobq.contrib import missing

try:
    from jobq.contrib.django._queue import DjangoQueue
except ModuleNotFoundError as error:
    raise missing(error, "django") from error

if TYPE_CHECKING:
    from jobq.contrib.django._tasks import TasksBackend
    from jobq.contrib.django.http import drive_urls, jobs_urls

queue = DjangoQueue()
"""The project's queue, in the database that `JOBQ["DATABASE"]` names, or else "default"."""

__all__ = ["DjangoQueue", "TasksBackend", "drive_urls", "jobs_urls", "queue"]


def __getattr__(name: str) -> Any:
    if name == "TasksBackend":  # needs django.tasks, which not every Django has
        from jobq.contrib.django._tasks import TasksBackend

        return TasksBackend
    if name in ("drive_urls", "jobs_urls"):
        from jobq.contrib.django import http

        return getattr(http, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
