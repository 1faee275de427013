"""Run a Django task."""

from __future__ import annotations

import traceback as tracebacks
from collections.abc import Iterable
from inspect import iscoroutinefunction
from typing import Any

from django.utils import timezone

from jobq._clock import to_datetime
from jobq._config import Bounds
from jobq._context import JobContext, SyncJobContext
from jobq._handler import Handler
from jobq._model import Attempt, Job, JobStatus
from jobq._outcome import decide
from jobq._payload import Codec, NotJson, check_json
from jobq._worker.execute import raised, timed_out
from jobq.contrib.django import _task_api as api
from jobq.contrib.django._task_policy import UnstorableResult
from jobq.contrib.django._task_results import local, result_of
from jobq.contrib.django._task_types import type_of

Context = JobContext | SyncJobContext


def backend_of(alias: str) -> Any:
    """The task backend of an alias."""
    return api.task_backends[alias]


def handler_of(backend: Any, task: Any) -> Handler[Any, Any]:
    """What runs a task's jobs."""
    policy = backend.policy(task)
    type = type_of(backend.alias, task.module_path)
    run = _AsyncRun(task, backend) if iscoroutinefunction(task.func) else _Run(task, backend)
    return Handler(
        type=type,
        function=run,
        codec=Codec(dict[str, Any], type_name=type),
        takes=("payload", "context"),
        is_async=isinstance(run, _AsyncRun),
        retry=policy.retry,
        limits=policy.limits,
        timeout=policy.timeout,
    )


class _Run:
    """Calls a task's function, and tells of it by Django's signals."""

    def __init__(self, task: Any, backend: Any) -> None:
        self.task = task
        self.backend = backend
        self.__module__ = task.func.__module__
        self.__qualname__ = task.func.__qualname__

    def __call__(self, payload: dict[str, Any], context: SyncJobContext) -> Any:
        history = self.backend.queue.history(context.id) if context.attempt > 1 else ()
        result = self._begun(payload, context, history)
        self._tell("task_started", result)
        try:
            value = _storable(self.task.func(*self._arguments(result), **result.kwargs))
        except BaseException as error:
            if self._failed(result, context, error):
                self._tell("task_finished", result)
            raise
        self._succeeded(result, value)
        self._tell("task_finished", result)
        return value

    def _tell(self, signal: str, result: Any) -> None:
        getattr(api.signals, signal).send_robust(type(self.backend), task_result=result)

    def _begun(self, payload: Any, context: Context, history: Iterable[Attempt]) -> Any:
        """The result as it is while the task runs."""
        claimed: Any = context._job  # noqa: SLF001  the same house
        job = Job(
            id=context.id,
            type=context.type,
            queue=context.queue,
            status=JobStatus.PROCESSING,
            priority=getattr(claimed, "priority", 0),
            payload=payload,
            attempts=context.attempt,
            metadata=context.metadata,
            worker=getattr(getattr(context._attempt, "host", None), "worker", ""),  # noqa: SLF001
            created_at=context.created_at,
            updated_at=context.started_at,
            run_at=to_datetime(getattr(claimed, "run_at", claimed.started_at)),
            started_at=context.started_at,
        )
        return result_of(self.backend, self.task, job, [*history])

    def _arguments(self, result: Any) -> list[Any]:
        first = [api.TaskContext(task_result=result)] if self.task.takes_context else []
        return [*first, *result.args]

    @staticmethod
    def _succeeded(result: Any, value: Any) -> None:
        _set(
            result,
            _return_value=value,
            status=api.TaskResultStatus.SUCCESSFUL,
            finished_at=local(timezone.now()),
        )

    @staticmethod
    def _failed(result: Any, context: Context, error: BaseException) -> bool:
        """Note an error; whether it is the end of the task."""
        kind = type(error)
        path = f"{kind.__module__}.{kind.__qualname__}"
        text = "".join(tracebacks.format_exception(error))
        result.errors.append(api.TaskError(exception_class_path=path, traceback=text))
        if not _is_the_end(context, error):
            return False
        _set(result, status=api.TaskResultStatus.FAILED, finished_at=local(timezone.now()))
        return True


class _AsyncRun(_Run):
    """The same for a coroutine function."""

    async def __call__(  # type: ignore[override]
        self, payload: dict[str, Any], context: JobContext
    ) -> Any:
        history = await self.backend.queue.aio.history(context.id) if context.attempt > 1 else ()
        result = self._begun(payload, context, history)
        await self._atell("task_started", result)
        try:
            value = _storable(await self.task.func(*self._arguments(result), **result.kwargs))
        except BaseException as error:
            if self._failed(result, context, error):
                await self._atell("task_finished", result)
            raise
        self._succeeded(result, value)
        await self._atell("task_finished", result)
        return value

    async def _atell(self, signal: str, result: Any) -> None:
        await getattr(api.signals, signal).asend_robust(type(self.backend), task_result=result)


def _set(result: Any, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(result, name, value)


def _storable(value: Any) -> Any:
    """What a task returned, as JSON that comes back as it went in."""
    try:
        normal = api.normalize_json(value)
        check_json(normal)
    except NotJson as error:
        raise UnstorableResult(f"the task's result: {error.reason} (at {error.path})") from None
    except (TypeError, ValueError) as error:
        raise UnstorableResult(f"the task's result: {error}") from None
    return normal


def _is_the_end(context: Context, error: BaseException) -> bool:
    """Whether an error is the last that the task will see, as the worker will decide."""
    attempt: Any = context._attempt  # noqa: SLF001  the same house
    if attempt.stopping in ("shutdown", "lease"):
        return False
    if attempt.stopping == "cancel":
        return True
    outcome = timed_out(attempt, Bounds()) if attempt.stopping else raised(error, Bounds())
    retry = attempt.handler.retry
    return decide(outcome, attempt.standing, retry, 0.0).status.finished
