"""Starlette: the routes of `jobq.http`, and a worker inside the app.

>>> app = Starlette(routes=[*jobs_routes(queue, owner=current_user, allow=["image_edit"])])
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from jobq.contrib import missing

try:
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.datastructures import URL
    from starlette.requests import ClientDisconnect
    from starlette.requests import Request as NativeRequest
    from starlette.responses import Response as NativeResponse
    from starlette.responses import StreamingResponse
    from starlette.routing import Route
except ModuleNotFoundError as error:
    raise missing(error, "fastapi") from error

from jobq._model import Job
from jobq._queue import AsyncQueue, Queue
from jobq._worker import Worker
from jobq.http import DriveApi, JobsApi, Request, Response, Stream, in_debug, polling
from jobq.http.dashboard import Dashboard
from jobq.http.trigger import start, triggers_itself

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PARTS = ("id", "name")
"""What the table's paths have in them."""
DISCARDED = 16 * 1024 * 1024
"""Bytes of a body that is too large which are still read, so that the client hears why."""

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def jobs_routes(
    queue: Queue | AsyncQueue, prefix: str = "/jobs", *, name: str = "jobq", **options: Any
) -> list[Route]:
    """The routes of a queue below a prefix. The options are those of `jobq.http.Options`.

    `owner` is called with Starlette's request and may be asynchronous.

    >>> routes = jobs_routes(queue, "/api/jobs", owner=lambda request: request.user.id)
    """
    return _routes(JobsApi(queue, **options), prefix, name)


def drive_routes(
    queue: Queue | AsyncQueue, prefix: str = "/api/workers", *, name: str = "jobq", **options: Any
) -> list[Route]:
    """The drive endpoint alone: POST on the prefix works, GET tells the queue's state."""
    return _routes(DriveApi(queue, **options), prefix, name)


def dashboard_routes(
    queue: Queue | AsyncQueue,
    prefix: str = "/jobq",
    *,
    name: str = "jobq-dashboard",
    **options: Any,
) -> list[Route]:
    """The dashboard below a prefix. The options are those of `jobq.http.dashboard`.

    `access` is called with Starlette's request, may be asynchronous, and returns an `Operator`.

    >>> routes = dashboard_routes(queue, access=operator_of_request)
    """
    return _routes(Dashboard(queue, **options), prefix, name)


def dashboard_app(queue: Queue | AsyncQueue, **options: Any) -> Starlette:
    """The dashboard as an app of its own, to be mounted.

    >>> app.mount("/jobq", dashboard_app(queue, access=operator_of_request))
    """
    return Starlette(routes=dashboard_routes(queue, "", **options))


def _routes(api: JobsApi, prefix: str, name: str) -> list[Route]:
    return [
        Route(
            prefix.rstrip("/") + path or "/",
            _endpoint(api, path),
            methods=list(METHODS),
            name=f"{name}:{next(iter(methods.values())).name}",
        )
        for path, methods in api.paths.items()
    ]


def _endpoint(api: JobsApi, path: str) -> Callable[[NativeRequest], Awaitable[NativeResponse]]:
    async def endpoint(request: NativeRequest) -> NativeResponse:
        return await respond(api, path, request)

    return endpoint


async def respond(
    api: JobsApi, path: str, request: NativeRequest, *, user: Any = None
) -> NativeResponse:
    """Answer a request to a path of the route table."""
    try:
        body = await _body(request, api.largest_body)
    except ClientDisconnect:  # half a body is no request, and nobody hears the answer
        return NativeResponse(status_code=400)
    asked = Request(
        method=request.method,
        path=URL(scope={**request.scope, "query_string": b""}).path,
        query=request.scope["query_string"].decode("latin-1"),  # whatever bytes were sent
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        debug=is_debug(request),
        user=user,
        native=request,
    )
    parts = {part: str(value) for part, value in request.path_params.items() if part in PARTS}
    answered = await api.ahandle(path, asked, **parts)
    if isinstance(answered, Stream):
        return StreamingResponse(api.achunks(answered), answered.status, dict(answered.headers))
    return _native(answered)


def _native(answered: Response, background: BackgroundTask | None = None) -> NativeResponse:
    headers = dict(answered.headers)
    return NativeResponse(answered.body, answered.status, headers, background=background)


async def _body(request: NativeRequest, largest: int) -> bytes:
    """The body, or as much of it as shows that it is too large."""
    if request.method in ("GET", "HEAD"):
        return b""
    kept, seen = bytearray(), 0
    async for chunk in request.stream():
        seen += len(chunk)
        kept += chunk[: max(0, largest + 1 - len(kept))]
        if seen > largest + DISCARDED:
            break
    return bytes(kept)


def is_debug(request: NativeRequest) -> bool:
    """Whether the request's app is in development."""
    return in_debug(app=bool(getattr(request.scope.get("app"), "debug", False)))


def accepted(
    request: NativeRequest,
    job: Job,
    *,
    queue: Queue | AsyncQueue | None = None,
    name: str = "jobq",
    auto_trigger: bool | None = None,
) -> NativeResponse:
    """The answer of a route of your own that has enqueued a job: 202, and where to ask for it.

    It is 200 where the job was there before, as with an `idempotency_key` that comes again. With
    `queue`, the job is run in this process on the side where `auto_trigger` says so; by default in
    development only. `name` is the one that the routes were mounted with.
    """
    asked = queue is not None and triggers_itself(auto_trigger, debug=is_debug(request))
    place = request.url_for(f"{name}:show", id=job.id).path
    aside = BackgroundTask(start, queue) if asked and queue is not None else None
    return _native(polling.accepted(job, place, job.updated_at), aside)


def queue_lifespan(queue: Queue | AsyncQueue, *, inner: Lifespan | None = None) -> Lifespan:
    """A lifespan that closes the queue's connections after `inner`, the app's own, has ended.

    >>> app = Starlette(routes=jobs_routes(queue), lifespan=queue_lifespan(queue))
    """
    return _around(partial(closing, queue), inner)


def worker_lifespan(
    queue: Queue | AsyncQueue, *, inner: Lifespan | None = None, **options: Any
) -> Lifespan:
    """A lifespan with a worker in it: it starts after `inner`, and ends cleanly before it.

    `inner` is the app's own lifespan; the options are those of `jobq.Worker`. With several server
    processes each has a worker; no job is run twice.

    >>> app = Starlette(routes=jobs_routes(queue), lifespan=worker_lifespan(queue, concurrency=5))
    """
    Worker(queue, **options)  # wrong options are told of where they are written

    @asynccontextmanager
    async def working() -> AsyncIterator[None]:
        async with closing(queue), Worker(queue, **options).running():
            yield

    return _around(working, inner)


def _around(
    own: Callable[[], AbstractAsyncContextManager[None]], inner: Lifespan | None
) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            state = await stack.enter_async_context(inner(app)) if inner is not None else None
            await stack.enter_async_context(own())
            yield state

    return lifespan


@asynccontextmanager
async def closing(queue: Queue | AsyncQueue) -> AsyncIterator[None]:
    """Close the event loop's connections at the end. The queue may be used again."""
    try:
        yield
    finally:
        await (queue.aio if isinstance(queue, Queue) else queue).aclose()
