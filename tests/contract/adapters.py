"""The adapters under test: each serves a queue on a real socket.

To add one, write a function of a `Setup` that yields `Mounts` while its server runs, and name it
in `ADAPTERS`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, Any

import fastapi
import uvicorn
from attrs import Factory, frozen
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import jobq
from jobq.contrib.fastapi import dashboard_router, drive_router, jobs_router
from jobq.contrib.starlette import (
    accepted,
    dashboard_routes,
    drive_routes,
    jobs_routes,
    queue_lifespan,
)
from jobq.http.dashboard import Operator


@frozen(kw_only=True)
class Setup:
    """What an adapter is to serve."""

    queue: jobq.Queue
    options: dict[str, Any] = Factory(dict)
    """What it passes on to `JobsApi`."""
    owned: bool = True
    """Whether callers are known, by a header `x-user`, and see their own jobs."""
    debug: bool = False
    dashboard: dict[str, Any] = Factory(dict)
    """Options of the dashboard; operators are known by a header `x-operator`."""

    @property
    def new_job(self) -> dict[str, Any]:
        """What a route of the app's own enqueues; once, and owned by Ada."""
        return {"type": "add", "payload": {"a": 1, "b": 2}, "owner": "ada", "idempotency_key": "1"}

    @property
    def drive_options(self) -> dict[str, Any]:
        names = ("keys", "time_budget", "concurrency")
        return {name: self.options[name] for name in names if name in self.options}


@frozen
class Mounts:
    """Where it does: the URLs of `jobs`, of the drive endpoint alone, and of others."""

    jobs: str
    drive: str
    dashboard: str
    own: str
    """A route of the app's own that creates a job."""

    @classmethod
    def below(cls, root: str) -> Mounts:
        return cls(f"{root}/api/jobs", f"{root}/api/workers", f"{root}/ops/jobq", f"{root}/api/own")


Adapter = Callable[[Setup], AbstractContextManager[Mounts]]


@contextmanager
def uvicorn_on(app: Any) -> Iterator[str]:
    """Serve an ASGI app in a thread."""
    config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


def user_of(request: Any) -> str | None:
    return request.headers.get("x-user")


def user_dependency(x_user: Annotated[str | None, fastapi.Header()] = None) -> str | None:
    return x_user


def operator_of(request: Any) -> Operator | None:
    name = request.headers.get("x-operator")
    if name is None:
        return None
    return Operator(name=name, may=()) if name == "reader" else Operator(name=name)


def operator_dependency(request: fastapi.Request) -> Operator | None:
    return operator_of(request)


@contextmanager
def serve_starlette(setup: Setup) -> Iterator[Mounts]:
    options = setup.options | ({"owner": user_of} if setup.owned else {})

    async def own(request: Request) -> Response:
        job = await setup.queue.aio.enqueue(**setup.new_job)
        return accepted(request, job, queue=setup.queue)

    routes = [
        Route("/api/own", own, methods=["POST"]),
        *jobs_routes(setup.queue, "/api/jobs", **options),
        *drive_routes(setup.queue, "/api/workers", name="alone", **setup.drive_options),
        *dashboard_routes(setup.queue, "/ops/jobq", **{"access": operator_of} | setup.dashboard),
    ]
    lifespan = queue_lifespan(setup.queue)
    with uvicorn_on(Starlette(routes=routes, debug=setup.debug, lifespan=lifespan)) as root:
        yield Mounts.below(root)


@contextmanager
def serve_fastapi(setup: Setup) -> Iterator[Mounts]:
    options = setup.options | ({"owner": user_dependency} if setup.owned else {})
    app = fastapi.FastAPI(debug=setup.debug)
    app.include_router(jobs_router(setup.queue, **options), prefix="/api/jobs")
    app.include_router(
        drive_router(setup.queue, name="alone", **setup.drive_options), prefix="/api/workers"
    )
    pages = {"access": operator_dependency} | setup.dashboard
    app.include_router(dashboard_router(setup.queue, **pages), prefix="/ops/jobq")

    @app.post("/api/own")
    def own(request: Request) -> Response:
        return accepted(request, setup.queue.enqueue(**setup.new_job), queue=setup.queue)

    with uvicorn_on(app) as root:
        yield Mounts.below(root)


ADAPTERS: dict[str, Adapter] = {"starlette": serve_starlette, "fastapi": serve_fastapi}
