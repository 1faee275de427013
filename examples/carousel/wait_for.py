"""Run jobs here until one has finished: `python -m examples.carousel.wait_for JOB [MS]`."""

import asyncio
import json
import sys
import time

from examples.carousel.jobs import queue
from jobq.http import atrigger_worker


async def wait_for(job: str, milliseconds: float = 120_000) -> None:
    async with queue:
        began = time.monotonic()
        answer = await atrigger_worker(queue, job, milliseconds)
        print(json.dumps({**answer, "seconds": time.monotonic() - began, "at": time.time()}))


if __name__ == "__main__":
    asyncio.run(wait_for(sys.argv[1], *map(float, sys.argv[2:])))
