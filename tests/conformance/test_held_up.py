"""What keeps a database from clearing up is said in the log, with its name."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

import jobq
from jobq._worker.upkeep import Upkeep
from jobq.observe import Observers


def held_up(url: str, seconds: float) -> str | None:
    async def ask() -> str | None:
        backend = jobq.AsyncQueue(url)._config.backend
        store = backend.async_store()
        try:
            return await backend.held_up(store, seconds=seconds)
        finally:
            await store.aclose()

    return asyncio.run(ask())


def test_a_snapshot_that_is_held_is_named(postgres: str) -> None:
    with psycopg.connect(postgres, application_name="nightly report") as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT count(*) FROM jobq_job")
        reason = held_up(postgres, seconds=0)
        assert reason is not None
        assert f"session {holder.info.backend_pid} of {holder.info.user}" in reason
        assert "(nightly report), idle in transaction" in reason
        assert held_up(postgres, seconds=3600) is None


def test_short_transactions_are_not_worth_a_word(postgres: str) -> None:
    assert held_up(postgres, seconds=60) is None


def test_a_log_that_a_reader_keeps_growing_is_named(sqlite: str) -> None:
    path = sqlite.removeprefix("sqlite:///")
    with jobq.Queue(sqlite) as queue, closing(sqlite3.connect(path)) as reader:
        queue.counts()
        assert held_up(sqlite, seconds=0) is None
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobq_job").fetchall()
        big = {"text": "x" * 1_000_000}
        while held_up(sqlite, seconds=0) is None:
            assert queue.counts()["pending"] < 100
            queue.enqueue_many([("work", big)] * 10)
        assert "MB: some connection reads without an end" in str(held_up(sqlite, seconds=0))
        reader.rollback()
        assert held_up(sqlite, seconds=0) is None
        assert Path(f"{path}-wal").stat().st_size < 1_000_000


async def test_upkeep_warns_once_and_not_each_round(caplog: pytest.LogCaptureFixture) -> None:
    async def grumble(_: Any, *, seconds: float) -> str:
        return f"something has been open for more than {seconds:g} s"

    store: Any = None
    upkeep = Upkeep(
        store, lease=30, keep=None, observers=Observers(), rescued=lambda _: None, held_up=grumble
    )
    with caplog.at_level(logging.WARNING, "jobq"):
        await upkeep.warn()
        await upkeep.warn()
    assert [record.getMessage() for record in caplog.records] == [
        "something has been open for more than 60 s"
    ]
