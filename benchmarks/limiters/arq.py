"""arq with aiolimiter: each process has its half of the limit, and a job waits for it in a slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError

from benchmarks.limiters import call

TITLE = "arq and aiolimiter"
PACKAGES = ("arq", "aiolimiter")
SCRIPT = ""
STORE = "redis"
SETTINGS = (
    "`AsyncLimiter(30, 6)` in each of two workers, `max_jobs=12`, 12 threads; `Retry(defer=…)`"
)
VARIANTS = {"": ""}


def work(store: str) -> None:
    from aiolimiter import AsyncLimiter
    from arq import Retry
    from arq.connections import RedisSettings
    from arq.worker import Worker, func

    async def run() -> None:
        # By default Python has four threads more than CPUs: requests would wait for them.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(call.SLOTS))
        limiter = AsyncLimiter(call.IMAGES / 2, call.PERIOD)

        async def perform(context: dict[str, Any], kind: str, n: int) -> None:
            if kind == "image":
                await limiter.acquire()
            try:
                await asyncio.to_thread(call.ask, kind, n)
            except HTTPError as error:
                wait = call.refused_for(error)
                raise Retry(defer=2.0 if wait is None else wait) from error

        worker = Worker(
            [func(perform, name="perform", max_tries=1_000)],
            redis_settings=RedisSettings.from_dsn(store),
            max_jobs=call.SLOTS,
            handle_signals=False,
        )
        await worker.async_run()

    asyncio.run(run())


def submitter(store: str) -> Callable[[str, int], Any]:
    from arq import create_pool
    from arq.connections import RedisSettings

    runner = asyncio.Runner()
    pool = runner.run(create_pool(RedisSettings.from_dsn(store)))
    return lambda kind, n: runner.run(pool.enqueue_job("perform", kind, n))


if __name__ == "__main__":
    call.main(work, submitter)
