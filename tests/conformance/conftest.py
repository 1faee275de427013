"""A frozen clock, and a queue that lives by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest

import jobq
from jobq.testing import FrozenClock
from tests.conformance.situations import TYPE


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of a server that speaks S3."""
    from tests.artifacts import s3_server

    with s3_server() as url:
        yield url


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(datetime(2031, 1, 1, 12, tzinfo=UTC))


@pytest.fixture
def frozen(url: str, router: jobq.Router, clock: FrozenClock) -> Iterator[jobq.Queue]:
    """An empty queue whose time is `clock`, on each database in turn."""
    with jobq.Queue(url, router=router, clock=clock) as queue:
        yield queue


@pytest.fixture
async def afrozen(frozen: jobq.Queue) -> AsyncIterator[jobq.AsyncQueue]:
    """The asynchronous face of `frozen`."""
    yield frozen.aio
    await frozen.aio.aclose()


@pytest.fixture
def known(router: jobq.Router) -> jobq.Handler[dict, dict]:
    """The handler of the type `work`, which returns its payload."""

    @router.handler(TYPE)
    async def work(payload: dict) -> dict:
        return payload

    return work
