"""A site is a queue with handlers, served by an adapter; each test starts one to its liking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from attrs import frozen

import jobq
from jobq.testing import drain
from tests.contract.adapters import ADAPTERS, Adapter, Mounts, Setup
from tests.contract.on_django import DJANGO
from tests.pairs import keep_one_each

KEY = "a-key-of-the-drive-endpoint"


class Client(httpx.Client):
    """A client whose URLs are what follows a mount point, and may be empty."""

    def __init__(self, mount: str, headers: dict[str, str]) -> None:
        super().__init__(headers=headers, timeout=60)
        self.mount = mount

    def build_request(self, method: str, url: Any, **content: Any) -> httpx.Request:
        whole = url if str(url).startswith("http") else f"{self.mount}{url}"
        return super().build_request(method, whole, **content)


@frozen
class Site:
    """A running server."""

    queue: jobq.Queue
    mounts: Mounts
    clients: ExitStack

    def client(self, user: str | None = "ada", **headers: str) -> httpx.Client:
        """A client of the routes of jobs, signed in as somebody."""
        known = {} if user is None else {"x-user": user}
        return self.clients.enter_context(Client(self.mounts.jobs, known | headers))

    def driver(self, **headers: str) -> httpx.Client:
        """A client of the drive endpoint that is mounted alone."""
        return self.clients.enter_context(Client(self.mounts.drive, headers))

    def browser(self, operator: str | None = "ada", **headers: str) -> httpx.Client:
        """A client of the dashboard, who sends what a browser does on a page of its own."""
        known = {} if operator is None else {"x-operator": operator}
        usual = {"sec-fetch-site": "same-origin"}
        return self.clients.enter_context(Client(self.mounts.dashboard, known | usual | headers))

    def drain(self) -> int:
        return drain(self.queue)


Start = Callable[..., Site]


EVERY = ADAPTERS | DJANGO


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    keep_one_each(config, items, "adapter", "url")


@pytest.fixture(params=list(EVERY))
def adapter(request: pytest.FixtureRequest) -> Adapter:
    return EVERY[request.param]


@pytest.fixture
def router() -> jobq.Router:
    """The handlers of a site."""
    router = jobq.Router()

    @router.handler("add")
    def add(payload: dict[str, Any], job: jobq.SyncJobContext) -> int:
        job.progress(50, "halfway")
        return int(payload["a"]) + int(payload["b"])

    @router.handler("scarce", per_owner=jobq.PerOwner(queued=1))
    async def scarce(payload: dict[str, Any]) -> None: ...

    @router.handler("show")
    async def show(payload: dict[str, Any], job: jobq.JobContext) -> None:
        await job.partial("image:1", {"url": "a.png"})
        raise jobq.Permanent("enough")

    @router.handler("fail", retry=jobq.Retry(max_attempts=1))
    def fail(payload: dict[str, Any], job: jobq.SyncJobContext) -> None:
        raise ValueError("the paper is jammed")

    return router


@pytest.fixture
def start(queue: jobq.Queue, adapter: Adapter) -> Iterator[Start]:
    """Start a site with these options of the API."""
    with ExitStack() as stack:

        def begin(
            served: jobq.Queue = queue,
            *,
            owned: bool = True,
            debug: bool = False,
            dashboard: dict[str, Any] | None = None,
            **options: Any,
        ) -> Site:
            usual = {"allow": ["add", "fail"], "keys": [KEY]}
            setup = Setup(
                queue=served,
                options=usual | options,
                owned=owned,
                debug=debug,
                dashboard=dashboard or {},
            )
            mounts = stack.enter_context(adapter(setup))
            return Site(served, mounts, stack.enter_context(ExitStack()))

        yield begin


@pytest.fixture
def site(start: Start) -> Site:
    """A site as most tests need it."""
    return start()


@pytest.fixture
def client(site: Site) -> httpx.Client:
    """A client of it who is signed in."""
    return site.client()
