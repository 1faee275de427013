"""Queues whose time stands still, on each database in turn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

import jobq
from jobq.testing import FrozenClock

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOON)


@pytest.fixture
def queue(url: str, router: jobq.Router, clock: FrozenClock) -> Iterator[jobq.Queue]:
    with jobq.Queue(url, router=router, clock=clock) as queue:
        yield queue
