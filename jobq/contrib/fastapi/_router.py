"""Routers made from the route table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, Request, Security
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.security import APIKeyHeader, HTTPBearer

from jobq._errors import ConfigurationError
from jobq._queue import AsyncQueue, Queue
from jobq.contrib.fastapi._openapi import described, responses
from jobq.contrib.starlette import METHODS, closing, respond
from jobq.http import DriveApi, JobsApi, Owner, Route
from jobq.http.dashboard import Dashboard, Operators
from jobq.http.messages import JSON

KEY = (
    Security(APIKeyHeader(name="x-api-key", auto_error=False)),
    Security(HTTPBearer(auto_error=False)),
)


def jobs_router(
    queue: Queue | AsyncQueue,
    *,
    owner: Callable[..., Any] | None = None,
    hide: bool = False,
    name: str = "jobq",
    **options: Any,
) -> APIRouter:
    """The routes of a queue. The options are those of `jobq.http.Options`.

    `owner` is a dependency of your app that returns the caller's id (or an object that has it as
    `id`), or raises. It may be asynchronous, and have dependencies of its own.

    >>> router = jobs_router(queue, owner=current_user, allow=["image_edit"])
    >>> app.include_router(router, prefix="/jobs")
    """
    if owner is not None:
        if options.get("access") is not None:
            raise ConfigurationError("give owner= or access=, not both")
        options["access"] = Owner(hide=hide)
    return _router(JobsApi(queue, **options), owner, name)


def drive_router(queue: Queue | AsyncQueue, *, name: str = "jobq", **options: Any) -> APIRouter:
    """The drive endpoint alone: POST on its prefix works, GET tells the queue's state.

    >>> app.include_router(drive_router(queue), prefix="/api/workers")
    """
    return _router(DriveApi(queue, **options), None, name)


def dashboard_router(
    queue: Queue | AsyncQueue, *, access: Any = None, name: str = "jobq-dashboard", **options: Any
) -> APIRouter:
    """The dashboard. The options are those of `jobq.http.dashboard.DashboardOptions`.

    `access` is a dependency of your app that returns an `Operator` or `None`, or raises; or a
    policy such as `Passwords`.

    >>> app.include_router(dashboard_router(queue, access=current_operator), prefix="/jobq")
    """
    is_policy = access is None or callable(getattr(access, "decide", None))
    api = Dashboard(queue, access=access if is_policy else Operators(), **options)
    router = APIRouter(lifespan=_lifespan(queue))
    for path, methods in api.paths.items():
        user = None if is_policy or "asset" in {r.name for r in methods.values()} else access
        endpoint = _endpoint(api, path, user)
        screen = next(iter(methods.values())).name
        router.add_api_route(
            path, endpoint, methods=[*METHODS], name=f"{name}:{screen}", include_in_schema=False
        )
    return router


def _router(api: JobsApi, owner: Callable[..., Any] | None, name: str) -> APIRouter:
    router = APIRouter(lifespan=_lifespan(api.queue), tags=["jobs"])
    for path, methods in api.paths.items():
        for route in methods.values():
            user = owner if route.part == "jobs" else None
            _add(router, api, route, _endpoint(api, path, user), name)
        user = owner if all(route.part == "jobs" for route in methods.values()) else None
        _add_hidden(router, path, ["HEAD"], _endpoint(api, path, user))
        others = [method for method in METHODS if method not in {*methods, "HEAD"}]
        _add_hidden(router, path, others, _endpoint(api, path, None))
    return router


def _add(
    router: APIRouter, api: JobsApi, route: Route, endpoint: Callable[..., Any], name: str
) -> None:
    streams = route.answers[0].media_type != JSON
    router.add_api_route(
        route.path,
        endpoint,
        methods=[route.method],
        name=f"{name}:{route.name}",
        summary=route.summary,
        status_code=route.answers[0].status,
        response_description=route.answers[0].summary,
        response_class=StreamingResponse if streams else JSONResponse,
        response_model=None,
        responses=responses(route),
        openapi_extra=described(route, api.allow),
        dependencies=KEY if route.part == "drive" else None,
    )


def _add_hidden(
    router: APIRouter, path: str, methods: list[str], endpoint: Callable[..., Any]
) -> None:
    """Methods that OpenAPI need not know: those that answer 405, and HEAD."""
    router.add_api_route(path, endpoint, methods=methods, include_in_schema=False)


def _endpoint(api: JobsApi, path: str, owner: Callable[..., Any] | None) -> Callable[..., Any]:
    """The function that FastAPI calls; with the app's own dependency where there is an owner."""
    if owner is None:

        async def plain(request: Request) -> Response:
            return await respond(api, path, request)

        return plain

    async def owned(request: Request, user: Any = Depends(owner)) -> Response:  # noqa: B008  FastAPI's way
        return await respond(api, path, request, user=user)

    return owned


def _lifespan(queue: Queue | AsyncQueue) -> Callable[[Any], Any]:
    """For as long as the app runs, `get_queue` knows the queue."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
        async with closing(queue):
            yield {"jobq": queue}

    return lifespan


def get_queue(request: Request) -> Any:
    """A dependency: the queue of the app's `jobs_router`.

    >>> @app.post("/images")
    ... async def edit(queue: Annotated[AsyncQueue, Depends(get_queue)]): ...
    """
    queue = getattr(request.state, "jobq", None)
    if queue is None:
        raise ConfigurationError(
            "get_queue: this app has no jobs_router, or its lifespan did not run"
        )
    return queue
