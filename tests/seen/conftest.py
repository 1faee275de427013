"""Jobs that end a call of their handler by an exception, though nothing went wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import jobq


@pytest.fixture
def parks(queue: jobq.Queue, router: jobq.Router) -> jobq.Job:
    """A job that is to wait for something."""

    async def look(operation: str) -> None: ...

    @router.handler("draw")
    async def draw(payload: dict, job: jobq.JobContext) -> Any:
        return await job.wait("drawn", "operations/1", poll=look, every=60, timeout=900)

    return queue.enqueue(draw, {})


@pytest.fixture
def is_cancelled(queue: jobq.Queue, router: jobq.Router) -> jobq.Job:
    """A job that is to be cancelled while it runs."""

    @router.handler("draw")
    async def draw(payload: dict, job: jobq.JobContext) -> None:
        await asyncio.to_thread(queue.cancel, job.id)
        await asyncio.Event().wait()

    return queue.enqueue(draw, {})
