"""Write what handlers have done, until it is durable: also where they are cancelled meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobq import backends
from jobq._errors import BackendUnavailable, LeaseLost
from jobq.observe import logger

if TYPE_CHECKING:
    from jobq._worker.running import Running


class Recorder:
    """What the handlers of one worker write through. One for each event loop."""

    def __init__(self, store: backends.AsyncStore) -> None:
        self.store = store
        self.loop = asyncio.get_running_loop()

    async def run(self, running: Running, op: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run an op. A cancellation waits for its end: what was paid for must be recorded."""
        work = self.loop.create_task(self._insist(running, op, args, kwargs))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait({work})
            if not work.cancelled():
                work.exception()  # it is told of no more
            raise

    async def _insist(
        self, running: Running, op: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Ask a database that cannot be reached again, for as long as the lease can be kept."""
        while True:
            try:
                return await self.store.run(op, *args, **kwargs)
            except BackendUnavailable as error:
                if running.stopping == "lease":
                    raise LeaseLost(running.job.id) from error
                logger.warning("cannot record what %s has done yet: %s", running.name, error)
                await asyncio.sleep(random.uniform(0.1, 1.0))


class Place:
    """Where an `async def` handler's steps are recorded."""

    def __init__(self, recorder: Recorder, running: Running) -> None:
        self._recorder, self._running = recorder, running
        self.dialect = recorder.store.dialect

    async def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self._recorder.run(self._running, op, args, kwargs)


class ThreadPlace:
    """The same for a `def` handler, in its thread."""

    def __init__(self, recorder: Recorder, running: Running) -> None:
        self._recorder, self._running = recorder, running
        self.dialect = recorder.store.dialect

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        work = self._recorder.run(self._running, op, args, kwargs)
        try:
            return self._running.host.from_thread(work)
        except BackendUnavailable as error:  # the worker has ended without this thread
            raise LeaseLost(self._running.job.id) from error
