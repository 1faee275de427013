"""Notice jobs that have ended and somebody is to be told of: enqueue the deliveries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

from jobq import backends
from jobq._config import Config
from jobq._errors import JobqError
from jobq._wakeup import wake
from jobq._worker.running import Running
from jobq.observe import logger

LOOK_EVERY = 5.0
"""Seconds until jobs are noticed that ended elsewhere."""
REST = 0.05
"""Seconds between two rounds: jobs that end meanwhile share the next one."""


class Relay:
    """Hands jobs over that have ended. Any worker with webhooks may; none leads.

    The row of an ended job says that somebody is to be told, from the moment on at which the
    outcome is stored, whoever stores it. So nothing is written for it there, and nothing is lost.
    """

    def __init__(self, store: backends.AsyncStore, config: Config) -> None:
        self._store = store
        self._config = config
        self._wake = asyncio.Event()

    def __bool__(self) -> bool:
        return self._config.courier is not None

    def after(self, freed: Callable[[Sequence[Running]], None]) -> Callable[..., None]:
        """The same, and look once more: jobs have ended here."""
        if not self:
            return freed

        def call(ended: Sequence[Running]) -> None:
            freed(ended)
            self._wake.set()

        return call

    async def run(self) -> None:
        """Go round until cancelled."""
        courier = self._config.courier
        assert courier is not None
        with courier.using(self._store):
            while True:
                try:
                    await self.round()
                except JobqError as error:
                    logger.warning("webhooks: %s", error)
                await asyncio.sleep(REST)
                await self._woken()

    async def _woken(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY * random.uniform(0.75, 1.25)):
                await self._wake.wait()

    async def round(self) -> int:
        """Enqueue the deliveries that are due now; how many."""
        courier, count = self._config.courier, 0
        if courier is None:
            return 0
        self._wake.clear()
        while await self._store.run(backends.ops.untold, courier.names):
            new = await self._store.run(backends.ops.relay, courier.names, courier.delivery)
            if not new:
                break  # others hold their rows: they are being told of, or looked at later
            count += len(new)
            wake(self._config.backend.identity)
            for job in new:
                self._config.observers.job_enqueued(job)
        return count
