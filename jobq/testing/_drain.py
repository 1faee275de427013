"""Run what is due, here and now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any, TypeVar

from jobq import backends
from jobq._errors import ConfigurationError
from jobq._loops import in_event_loop
from jobq._queue import AsyncQueue, Queue
from jobq._worker import Worker
from jobq._worker.relay import Relay
from jobq._worker.upkeep import Upkeep
from jobq.testing._clock import FrozenClock

T = TypeVar("T")

LEASE = 30.0
FOR_EVER = 10**15
"""Some thirty years, in microseconds: as far as a frozen clock is moved to find a job."""


def drain(
    queue: Queue | AsyncQueue,
    *,
    max_jobs: int | None = None,
    with_scheduled: bool = False,
    queues: Sequence[str] | None = None,
    concurrency: int = 1,
) -> int:
    """Run all jobs that are due, in this process, until nothing is due; how many were run.

    It is a worker for one round. It declares jobs that wait for it, rescues those whose lease has
    ended, opens the queue's `lifespan`, stores outcomes and history. Jobs that handlers enqueue
    are run too; a retry is run if it is due at once and otherwise stays, and so do jobs of paused
    queues and of types without a handler. What a handler raises ends up in its job, not here.

    - `max_jobs`: run no more than so many. Needed where handlers enqueue without end.
    - `with_scheduled`: then move the queue's `FrozenClock` on to the next job that is due, and go
      on, or to when a limit lets the next one start, until nothing is left.
    - `queues`: the names of the queues to serve; by default all.
    - `concurrency`: how many jobs at a time. One at a time they run in a fixed order: by
      priority, by `run_at`, by age.

    In asynchronous tests `await adrain(queue)`. Raises `ConfigurationError` where the queue's
    router has no handlers.

    >>> def test_a_signup_sends_a_mail(jobq_queue, outbox):
    ...     sign_up("ada@example.com", queue=jobq_queue)
    ...     assert drain(jobq_queue) == 1
    ...     assert outbox == ["ada@example.com"]
    """
    return run_outside_a_loop(
        "drain",
        adrain(
            queue,
            max_jobs=max_jobs,
            with_scheduled=with_scheduled,
            queues=queues,
            concurrency=concurrency,
        ),
        queue._config.run,  # noqa: SLF001  the test kit is part of the house
    )


async def adrain(
    queue: Queue | AsyncQueue,
    *,
    max_jobs: int | None = None,
    with_scheduled: bool = False,
    queues: Sequence[str] | None = None,
    concurrency: int = 1,
) -> int:
    """Run all jobs that are due; how many were run. See `drain`.

    >>> async def test_a_signup_sends_a_mail(jobq_queue, outbox):
    ...     await sign_up("ada@example.com", queue=jobq_queue.aio)
    ...     assert await adrain(jobq_queue) == 1
    """
    config = queue._config  # noqa: SLF001  the test kit is part of the house
    clock = config.clock
    if with_scheduled and not isinstance(clock, FrozenClock):
        raise ConfigurationError(
            "with_scheduled=True moves the queue's clock: make the queue with clock=FrozenClock()"
        )
    ran = 0
    while True:
        await _upkeep(config)
        left = None if max_jobs is None else max_jobs - ran
        worker = Worker(queue, queues=queues, concurrency=concurrency, lease=LEASE)
        here = await worker.run_once(left)
        ran += here
        if config.courier is not None and here and ran != max_jobs:
            continue  # webhooks are to be told of what has ended
        if not isinstance(clock, FrozenClock) or not with_scheduled or ran == max_jobs:
            return ran
        rest = await _until_next(config, queues)
        if worker.opens_at is not None:  # jobs wait for a limit
            opens = max(1, worker.opens_at - clock.now())
            rest = opens if rest is None else min(rest, opens)
        if rest is None:
            return ran
        clock.advance(timedelta(microseconds=rest))


async def _upkeep(config: Any) -> None:
    """What a worker does on the side is done first here, so that its effects can be counted on."""
    async with aclosing(config.async_store()) as store:
        upkeep = Upkeep(
            store,
            lease=LEASE,
            keep=config.keep,
            observers=config.observers,
            rescued=lambda _: None,
        )
        await upkeep.rescue()
        await upkeep.expire()
        await Relay(store, config).round()
        await upkeep.end_batches()


async def _until_next(config: Any, queues: Sequence[str] | None) -> int | None:
    """Microseconds until the next job that could be run is due."""
    async with aclosing(config.async_store()) as store:
        due: int | None = await store.run(
            backends.ops.due_within, types=config.router.types, queues=queues, within=FOR_EVER
        )
    return due


def run_outside_a_loop(
    name: str,
    work: Coroutine[Any, Any, T],
    run: Callable[[Coroutine[Any, Any, T]], T] = asyncio.run,
) -> T:
    """Run the asynchronous twin of a function to its end."""
    if not in_event_loop():
        return run(work)
    work.close()
    raise RuntimeError(f"{name}() cannot run inside an event loop; use `await a{name}(…)` here")
