"""The ends of the tasks that a worker consists of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from jobq import backends
from jobq._worker.tally import Tally, write
from jobq._worker.upkeep import after_release
from jobq.observe import logger


async def leave(
    store: backends.AsyncStore, id: str, *, label: str, tally: Tally, keep: int | None
) -> bool:
    """Be forgotten. Whether a cancelled claim had left us jobs, which go back."""
    await write(store, label, tally)
    left = False
    while await store.run(backends.ops.give_back, id, after_release, keep=keep):
        left = True
    await store.run(backends.ops.forget_worker, id)
    return left


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended.

    Once is not always enough: before Python 3.12 `asyncio.wait_for`, which drivers use, may lose a
    cancellation that comes together with what it waits for.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)


def tell_failure(worker: asyncio.Task[int]) -> None:
    """An app learns of the end of its worker when it ends itself; the log says it at once."""
    if not worker.cancelled() and worker.exception() is not None:
        logger.critical("the worker failed", exc_info=worker.exception())
