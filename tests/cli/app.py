"""The app that the tests' worker processes run."""

import asyncio
import gc
import logging
import os
import threading
from pathlib import Path

import jobq

queue = jobq.Queue(os.environ["TEST_URL"])


def say(word: str) -> None:
    print(word, flush=True)


@jobq.handler("greet")
async def greet(payload: dict) -> dict:
    logging.getLogger("app").info("greeting with token=%s", payload["name"])
    return {"hello": payload["name"]}


@jobq.handler("census")
async def census() -> dict:
    """How many objects a full collection looks at, and how many it leaves alone."""
    return {"looked at": len(gc.get_objects()), "left alone": gc.get_freeze_count()}


@jobq.handler("read")
async def read(payload: dict) -> str:
    """Wait for someone who writes into a FIFO."""
    say("started")
    return await asyncio.to_thread(Path(payload["fifo"]).read_text)


@jobq.handler("wait")
async def wait() -> None:
    say("started")
    await asyncio.Event().wait()


@jobq.handler("deaf", timeout=0.2)
async def deaf() -> None:
    say("started")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            say("not listening")


@jobq.handler("stuck")
def stuck() -> None:
    say("started")
    threading.Event().wait()


@jobq.handler("stuck_beneath")
async def stuck_beneath() -> None:
    say("started")
    await asyncio.to_thread(threading.Event().wait)


MEETING = threading.Barrier(40)
"""More than Python has threads for, on any machine."""


@jobq.handler("meet")
async def meet() -> int:
    return await asyncio.to_thread(MEETING.wait, 20)
