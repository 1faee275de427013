"""Where a project's handlers are: those of `@jobq.handler`, and Django's tasks."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, MutableMapping
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from jobq._handler import Handler, Middleware
from jobq._payload import Codec
from jobq._retry import Retry
from jobq._routing import Router, default_router
from jobq.contrib.django._task_types import parts_of


def aliases() -> list[str]:
    """The aliases of the task backends that are jobq's; nothing of them is made or imported."""
    backends = getattr(settings, "TASKS", None) or {}
    return [alias for alias, given in backends.items() if _is_ours(given.get("BACKEND", ""))]


def _is_ours(path: str) -> bool:
    if path == "jobq.contrib.django.TasksBackend":
        return True
    try:
        kinds = import_string(path).__mro__
    except (ImportError, AttributeError):
        return False  # Django's own check tells
    return any(kind.__module__ == "jobq.contrib.django._tasks" for kind in kinds)


class ProjectRouter(Router):
    """The handlers of `@jobq.handler`, and Django's tasks as they are met.

    With `backends`, the aliases of task backends, it knows their tasks alone.
    """

    def __init__(self, backends: Iterable[str] | None = None) -> None:
        super().__init__()
        handlers: MutableMapping[str, Handler[Any, Any]] = {}
        if backends is None:
            handlers = default_router._handlers  # noqa: SLF001  a live view
        self._handlers = ChainMap({}, handlers)
        self._backends = frozenset(aliases() if backends is None else backends)

    @property
    def finds(self) -> bool:  # type: ignore[override]
        """Whether the project has task backends of ours."""
        return bool(self._backends)

    def middleware(self, function: Middleware) -> Middleware:
        """Around every handler of the project."""
        return default_router.middleware(function)

    def _register(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        return default_router._register(handler)  # noqa: SLF001  where all look

    def chain(self, handler: Handler[Any, Any]) -> tuple[Middleware, ...]:
        """The middleware around a handler, outermost first."""
        return default_router.chain(handler)

    def find(self, type: str) -> bool:
        """Import the task that a type names, and register it; whether it is one of ours."""
        alias, path = parts_of(type) or ("", "")
        if alias not in self._backends:
            return False
        from jobq.contrib.django._task_results import find_task
        from jobq.contrib.django._task_running import backend_of, handler_of

        try:
            handler = handler_of(backend_of(alias), find_task(path))
        except Exception as error:  # noqa: BLE001  a module may raise anything
            handler = _unfound(type, error)
        self._handlers[type] = handler
        return True


def _unfound(type: str, error: Exception) -> Handler[Any, Any]:
    """Fails the jobs of a task that cannot be found, and says why."""

    def run(payload: Any) -> None:
        del payload
        raise error.with_traceback(None)

    return Handler(
        type=type,
        function=run,
        codec=Codec(dict[str, Any], type_name=type),
        takes=("payload",),
        is_async=False,
        retry=Retry(max_attempts=1, rules={BaseException: None}),
    )
