"""The backend of Django's task framework."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.core import checks
from django.utils import timezone

from jobq._errors import ConfigurationError, JobNotFound, OptionError, PayloadError
from jobq.contrib.django import DjangoQueue, queue
from jobq.contrib.django import _task_api as api
from jobq.contrib.django._task_policy import POLICY, Policy
from jobq.contrib.django._task_results import result_of
from jobq.contrib.django._task_running import handler_of
from jobq.contrib.django._task_types import alias_of

OPTIONS = ("database", "tasks")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobqTask(api.Task):
    """A task with a policy of its own: `@task(max_attempts=3, backoff=10, limits=[…])`.

    - `max_attempts`: how often it is tried; once by default, as Django's own backends do.
    - `backoff`: seconds between attempts, or a `jobq.Backoff`.
    - `limits`: as `jobq.handler` takes them.
    - `timeout`: seconds that an attempt may take; none by default.
    """

    max_attempts: int | None = None
    backoff: Any = None
    limits: Any = None
    timeout: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.run_after, timedelta):
            object.__setattr__(self, "run_after", timezone.now() + self.run_after)
        api.Task.__post_init__(self)


class TasksBackend(api.BaseTaskBackend):
    """Runs Django's tasks as jobs.

    >>> TASKS = {"default": {"BACKEND": "jobq.contrib.django.TasksBackend"}}

    `OPTIONS` may have `"database"`, the alias that the jobs live in, and `"tasks"`: the policies of
    tasks by their paths, for tasks that other people wrote and for Django 6.0, whose `@task` takes
    no further options.

    >>> OPTIONS = {"tasks": {"shop.tasks.send_mail": {"max_attempts": 5, "backoff": 30}}}
    """

    task_class = JobqTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    @property
    def queue(self) -> DjangoQueue:
        """Where its jobs are."""
        alias = self.options.get("database")
        return queue if alias is None else queue.using(alias)

    def policy(self, task: Any) -> Policy:
        """How a task is tried. Raises `ConfigurationError`."""
        return Policy.of(task, self.options.get("tasks", {}).get(task.module_path, {}))

    def validate_task(self, task: Any) -> None:
        """Refuse what could not be run as it says."""
        super().validate_task(task)
        try:
            self.policy(task)
        except ConfigurationError as error:
            raise api.InvalidTask(str(error)) from error

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Store a job on Django's connection; it commits or vanishes with its transaction."""
        self.validate_task(task)
        handler = handler_of(self, task)
        later: dict[str, Any] = {}
        if task.run_after is not None:
            moment = _aware(task.run_after)
            later = {"run_at": moment, "metadata": {"run_after": task.run_after.isoformat()}}
        try:
            job = self.queue.enqueue(
                handler,
                {"args": api.normalize_json(args), "kwargs": api.normalize_json(kwargs)},
                queue=task.queue_name,
                priority=int(task.priority),
                **later,
            )
        except PayloadError as error:
            raise TypeError(f"{task.module_path} cannot be enqueued: {error}") from error
        result = result_of(self, task, job, ())
        api.signals.task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """The state of a task, from any process."""
        try:
            job = self.queue.get(result_id)
        except (OptionError, JobNotFound) as error:
            raise api.TaskResultDoesNotExist(result_id) from error
        if alias_of(job.type) != self.alias:
            raise api.TaskResultDoesNotExist(result_id)
        return result_of(self, None, job, self.queue.history(job.id))

    def check(self, **_: Any) -> list[checks.CheckMessage]:
        """What is wrong with its options."""
        return [checks.Error(text, id="jobq.E003") for text in self._complaints()]

    def _complaints(self) -> Iterable[str]:
        where = f"TASKS[{self.alias!r}]"
        if not apps.is_installed("jobq.contrib.django"):
            yield f'{where} needs "jobq.contrib.django" in INSTALLED_APPS'
        unknown = sorted(self.options.keys() - set(OPTIONS))
        if unknown:
            yield f"{where}: OPTIONS has unknown keys {unknown}; it may have {list(OPTIONS)}"
        tasks = self.options.get("tasks", {})
        if not isinstance(tasks, Mapping):
            yield f"{where}: OPTIONS['tasks'] must be {{path: {{option: value}}}}"
            return
        for path, options in tasks.items():
            if not isinstance(options, Mapping) or options.keys() - set(POLICY):
                yield f"{where}: the options of {path!r} must be some of {list(POLICY)}"
                continue
            try:
                Policy.checked(path, **options)
            except ConfigurationError as error:
                yield f"{where}: {error}"


def _aware(moment: datetime) -> datetime:
    """An instant; without USE_TZ Django's datetimes are in its own time zone."""
    if timezone.is_aware(moment):
        return moment
    aware: datetime = timezone.make_aware(moment, timezone.get_default_timezone())
    return aware
