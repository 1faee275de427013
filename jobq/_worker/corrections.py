"""What handlers tell of their limits: what a job really cost, and what has been used up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from jobq import backends
from jobq._clock import SECOND
from jobq._errors import JobqError
from jobq._worker.running import Running
from jobq.observe import logger


class Corrections:
    """Writes them at once, one after the other of a job; one that is lost leaves the estimate.

    Any thread may call. `closed` is told of limits that are closed, `eased` is called when one
    may open sooner.
    """

    def __init__(
        self,
        store: backends.AsyncStore,
        *,
        closed: Callable[[str, float], None],
        eased: Callable[[], None],
    ) -> None:
        self._store = store
        self._closed = closed
        self._eased = eased
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def settle(self, running: Running, key: str, units: int) -> None:
        """A job cost so many units more, or fewer if negative."""
        refs = () if running.lane is None else running.lane.refs
        template = next((ref.template for ref in refs if ref.key == key), key)
        start = 0 if running.start is None else running.start.permit.start
        op = backends.ops.settle
        self._write(op, eases=units < 0, key=key, template=template, units=units, start=start)

    def close(self, key: str, seconds: float, reason: str) -> None:
        """A limit is used up for some seconds."""
        row = {"key": key, "delay": round(seconds * SECOND), "until": None, "reason": reason}
        self._loop.call_soon_threadsafe(self._closed, key, seconds)
        self._write(backends.ops.block, [row])

    def _write(self, op: Callable[..., Any], *args: Any, eases: bool = False, **given: Any) -> None:
        self._loop.call_soon_threadsafe(self._begin, self._run(eases, op, *args, **given))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, eases: bool, op: Callable[..., Any], *args: Any, **given: Any) -> None:
        try:
            await self._store.run(op, *args, **given)
        except JobqError as error:
            logger.warning("cannot correct a limit: %s", error)
        else:
            if eases:
                self._eased()
