"""Django's task framework: `django.tasks`, or the package `django-tasks` before Django 6."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

IN_DJANGO = find_spec("django.tasks") is not None
AVAILABLE = IN_DJANGO or find_spec("django_tasks") is not None

if IN_DJANGO:
    from django.tasks import base, exceptions, signals, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.utils.json import normalize_json

    InvalidTask: Any = exceptions.InvalidTask
elif AVAILABLE:
    from django_tasks import base, exceptions, signals, task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.utils import normalize_json

    InvalidTask = exceptions.InvalidTaskError
else:
    raise ImportError(
        "jobq.contrib.django.TasksBackend needs Django's task framework: Django 6.0 or newer, "
        "or before that `pip install django-tasks`"
    )

Task: Any = base.Task
TaskContext: Any = base.TaskContext
TaskError: Any = base.TaskError
TaskResult: Any = base.TaskResult
TaskResultStatus: Any = base.TaskResultStatus
TaskResultDoesNotExist: Any = exceptions.TaskResultDoesNotExist

__all__ = [
    "BaseTaskBackend",
    "InvalidTask",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "normalize_json",
    "signals",
    "task_backends",
]
