"""What ASGI servers may hand over, and clients of the tests would never send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette

from jobq._config import Bounds
from jobq._queue import Queue
from jobq._routing import Router
from jobq.contrib.starlette import jobs_routes
from jobq.http import JobsApi, Request

JSON = (b"content-type", b"application/json")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(f"sqlite:///{tmp_path}/jobs.db", router=Router()) as queue:
        yield queue


def status(queue: Queue, method: str, path: str, *, query: bytes = b"", cut: bool = False) -> int:
    """What a request is answered with; a client may go away in the middle of its body."""
    app = Starlette(routes=jobs_routes(queue, owner=lambda _: "ada", allow=["add"]))
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [JSON],
        "server": ("localhost", 80),
    }
    came: list[Any] = [{"type": "http.request", "body": b'{"type": "add"', "more_body": cut}]
    sent: list[Any] = []

    async def receive() -> Any:
        return came.pop(0) if came else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def serve() -> None:
        await app(scope, receive, send)
        await queue.aio.aclose()

    anyio.run(serve)
    return int(sent[0]["status"])


@pytest.mark.parametrize("path", ["/jobs", "/jobs/process", "/jobs/hooks/token"])
def test_a_client_that_goes_away_in_the_middle_has_asked_for_nothing(
    queue: Queue, path: str
) -> None:
    assert status(queue, "POST", path, cut=True) == 400


def test_a_query_may_be_any_bytes(queue: Queue) -> None:
    assert status(queue, "GET", "/jobs", query=b"type=\xff") == 200


@pytest.mark.parametrize("body", [b"", b"12"])
def test_an_event_that_was_cut_short_is_no_event(queue: Queue, body: bytes) -> None:
    headers = {"content-length": "5"}
    asked = Request(method="POST", path="/jobs/hooks/token", headers=headers, body=body)
    answered: Any = JobsApi(queue).handle("/hooks/{id}", asked, id="token")
    assert answered.status == 400


def test_a_body_may_be_as_large_as_the_largest_event(tmp_path: Path) -> None:
    with Queue(f"sqlite:///{tmp_path}/jobs.db", bounds=Bounds(payload=10, step=200_000)) as queue:
        assert JobsApi(queue).largest_body > 200_000
