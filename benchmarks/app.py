"""The app whose worker the benchmarks start, as a user would write it."""

from __future__ import annotations

import asyncio
import os
import time

import jobq
from benchmarks.tally import Tally

TALLY, EXPECTED = "BENCH_TALLY", "BENCH_EXPECTED"
"""The environment's names for the folder that handlers note in, and for the number of calls."""

PROVIDER = jobq.RateLimit("provider", 6_000, per=60)

router = jobq.Router()
tally = Tally(os.environ[TALLY], int(os.environ[EXPECTED])) if TALLY in os.environ else None


@router.handler("noop")
async def noop(payload: dict) -> None:
    """Nothing at all."""


@router.handler("deleted", keep=False)
async def deleted(payload: dict) -> None:
    """Nothing at all; the job is deleted, so that only the handler can say when it ran."""
    if tally is not None:
        tally.begin()
        tally.end()


@router.handler("pickup")
async def pickup(payload: dict) -> float:
    """When the handler was entered, by the clock that the enqueuer reads too."""
    return time.time()


@router.handler("sleeper")
async def sleeper(payload: dict) -> None:
    """What a call of a slow service looks like."""
    await asyncio.sleep(payload["seconds"])


@router.handler("batched", batch=100)
async def batched(payloads: list[dict]) -> list[None]:
    """One call for up to a hundred jobs."""
    return [None] * len(payloads)


@router.handler("limited", limits=[PROVIDER])
async def limited(payload: dict) -> None:
    """Notes each of its calls for a ledger that jobq doesn't know."""
    if tally is not None:
        tally.begin()


@router.handler("keyed", limits=[jobq.RateLimit("tenant:{owner}", 1_000_000, per=1)])
async def keyed(payload: dict) -> None:
    """A job under one of a thousand keys."""


queue = jobq.Queue(os.environ.get("BENCH_URL", "sqlite:///:unused:"), router=router)
