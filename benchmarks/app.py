"""The app whose worker the benchmarks start: handlers that do nothing, or say when they began."""

import os
import time

import jobq

router = jobq.Router()


@router.handler("noop")
async def noop(payload: dict) -> None:
    """Nothing at all."""


@router.handler("pickup")
async def pickup(payload: dict) -> float:
    """When the handler was entered, by the clock that the enqueuer reads too."""
    return time.time()


queue = jobq.Queue(os.environ["BENCH_URL"], router=router)
