"""A worker on SQLite learns of what other connections commit, by looking at the log."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing, suppress
from typing import Any

import pytest

import jobq
from jobq.backends import ops
from jobq.backends import sqlite as backend_module

PATIENCE = 10
"""Seconds to wait for a hint: far longer than any takes."""


class Hints:
    """Counts hints, and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.count = 0
        self._came = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._came.set()

    async def next(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._came.wait()
        self._came.clear()


@asynccontextmanager
async def watching(url: str, idle: float) -> AsyncIterator[tuple[Hints, Any]]:
    """A worker's watch, past its first hint, which comes by itself."""
    backend, hints = jobq.AsyncQueue(url)._config.backend, Hints()
    async with aclosing(backend.async_store()) as store:
        watch = asyncio.create_task(backend.watch(store, hints, lambda: idle))
        try:
            await hints.next()
            yield hints, store
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch


def commit(url: str) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("INSERT INTO jobq_queue (queue) VALUES (hex(randomblob(8)))")


@pytest.mark.parametrize("idle", [1.0, 3600.0], ids=["lately", "long idle"])
async def test_each_commit_of_another_connection_is_noticed(sqlite: str, idle: float) -> None:
    async with watching(sqlite, idle) as (hints, _):
        for _ in range(5):
            commit(sqlite)
            await hints.next()


async def test_a_log_that_looks_as_it_did_hides_no_commit(
    sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "log_state", lambda _: (0, 0))
    async with watching(sqlite, 1.0) as (hints, _):
        for _ in range(2):
            commit(sqlite)
            await hints.next()


async def test_a_commit_within_the_same_tick_as_the_one_before_is_noticed(
    sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = time.time_ns()
    monkeypatch.setattr(backend_module, "log_state", lambda _: (4096, tick))
    monkeypatch.setattr(backend_module, "FOR_CERTAIN", PATIENCE * 2)
    async with watching(sqlite, 1.0) as (hints, _):
        for _ in range(3):
            commit(sqlite)
            await hints.next()


async def test_its_own_commits_are_no_news(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watching(sqlite, 1.0) as (hints, store):
        before, looks = hints.count, Hints()
        ask = store.data_version

        async def asked() -> int:
            version = await ask()
            asyncio.get_running_loop().call_soon(looks)  # once the watch has drawn its conclusion
            return version

        monkeypatch.setattr(store, "data_version", asked)
        await store.run(ops.ensure_limits, ["a limit"])
        await looks.next()
        assert hints.count == before
        commit(sqlite)
        await hints.next()


async def test_who_ends_leaves_no_thread(sqlite: str) -> None:
    async with watching(sqlite, 1.0):
        [thread] = [one for one in threading.enumerate() if one.name == "jobq watch"]
    await asyncio.to_thread(thread.join, PATIENCE)
    assert not thread.is_alive()
