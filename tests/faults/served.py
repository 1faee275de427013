"""An app with the HTTP API and a worker inside: `python -m tests.faults.served server OPTIONS`."""

from __future__ import annotations

import os
import resource
import socket
from collections import Counter
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import jobq
from jobq.contrib.starlette import jobs_routes, worker_lifespan
from jobq.http.watch import watcher_of
from tests.faults import app
from tests.faults.actors import Actor
from tests.faults.app import Options, role, router
from tests.faults.history import History
from tests.faults.stage import Orders

LONG = 300.0
MANY_FILES = 8192


class Served(Actor):
    """A server."""

    app = "tests.faults.served"


class Calls(jobq.Observer):
    """Counts the calls of the database."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()

    def database_called(self, op: str, seconds: float, error: BaseException | None) -> None:
        self.made[op] += 1


@role
def server(options: Options, history: History, orders: Orders) -> None:
    """Serves a queue, with a worker inside, and tells how it fares; until SIGTERM."""
    allow_many_files()
    calls = Calls()
    queue = jobq.AsyncQueue(options["url"], router=router, observers=[calls])
    watcher = watcher_of(queue._config)

    async def facts(_: Request) -> JSONResponse:
        made = calls.made.total()
        return JSONResponse({"memory": memory(), "waiting": watcher.waiting, "calls": made})

    times = {"longest_wait": LONG, "longest_stream": LONG, "heartbeat": LONG}
    routes = jobs_routes(queue, owner=lambda request: request.headers.get("x-user"), **times)
    site = Starlette(
        routes=[Route("/facts", facts), *routes], lifespan=worker_lifespan(queue, concurrency=2)
    )
    with socket.create_server(("127.0.0.1", 0), backlog=MANY_FILES) as listening:
        history.note("ready", port=listening.getsockname()[1])
        uvicorn.Server(uvicorn.Config(site, log_level="warning")).run(sockets=[listening])


def memory() -> int:
    """Bytes of memory that this process has."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def allow_many_files() -> None:
    """Each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = most == resource.RLIM_INFINITY
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (MANY_FILES if unlimited else min(MANY_FILES, most), most)
    )


if __name__ == "__main__":
    app.main()
