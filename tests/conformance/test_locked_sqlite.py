"""A SQLite file that another process keeps locked."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import jobq
from jobq.backends import ops


async def test_units_that_wait_for_the_lock_in_vain_are_told_that_they_may_try_again(
    sqlite: str,
) -> None:
    async with jobq.AsyncQueue(f"{sqlite}?patience=0.1") as queue:
        await queue.migrate()
        store = queue._store()
        path = sqlite.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            together = [store.run(ops.ensure_limits, [key]) for key in ("a", "b")]
            answers = await asyncio.gather(*together, return_exceptions=True)
            other.execute("ROLLBACK")
        assert [type(answer) for answer in answers] == [jobq.BackendUnavailable] * 2
        await store.run(ops.ensure_limits, ["a"])
