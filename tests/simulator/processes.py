"""The processes: shipped workers and queues on simulated stores, handlers that a script ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, cast

from attrs import define
from sqlalchemy.util import await_only, greenlet_spawn

import jobq
from jobq import Concurrency, DailyQuota, KeyPool, RateLimit
from jobq._errors import BackendUnavailable
from jobq._worker.lease import LeaseKeeper
from jobq._worker.slots import Slots
from jobq.backends import ops
from tests.simulator.clock import Loop, WorkerClock
from tests.simulator.scheduler import Process, World

LEASE = 10.0
MARGIN = 5.0
RATE = RateLimit("rate", 3, per=10, max_cost=2, cost=lambda payload: payload["cost"])
PLACES = Concurrency("places", 1)
DAILY = DailyQuota("daily", 2, tz="Europe/Berlin")
KEYS = KeyPool(
    "keys", keys={"a": "secret of a", "b": "secret of b"}, limit=RateLimit("key:{key}", 1, per=10)
)
LIMITS: dict[str, list[RateLimit | Concurrency | DailyQuota | KeyPool]] = {
    "plain": [],
    "rated": [RATE],
    "placed": [PLACES],
    "both": [RATE, PLACES],
    "daily": [DAILY],
    "keyed": [KEYS, PLACES],
}
KNOWN = tuple(LIMITS)
STRANGER = "stranger"
"""A type that no worker knows."""


@define(eq=False)
class Attempt:
    """A handler that is running, until the script ends it."""

    process: Process
    job: jobq.JobContext
    end: asyncio.Future[str]


class Store:
    """A store of either face; what it is given to do waits for the scheduler."""

    def __init__(self, process: Process) -> None:
        self.dialect = process.world.database.dialect
        self._process = process

    def notifies_now(self, queue: str) -> bool:
        return False

    def notified(self, queue: str) -> None:
        """Hints are the script's."""

    def notify(self, queue: str) -> None:
        """Hints are the script's."""


class AsyncStore(Store):
    async def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self._process.run(op, *args, **kwargs)

    async def aclose(self) -> None:
        """There is one connection for all."""


class SyncStore(Store):
    """For a thread, which is a greenlet here."""

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await_only(self._process.run(op, *args, **kwargs))

    def close(self) -> None:
        """There is one connection for all."""


class Backend:
    """What a configuration asks of a database."""

    name = "simulated"
    url = "sqlite:///simulated.db"
    fallback_poll = 5.0

    def __init__(self, process: Process, *, joins_claims: bool) -> None:
        self.identity = f"simulated:{process.name}:{id(process)}"
        self.dialect = process.world.database.dialect
        self.joins_claims = joins_claims
        self.hint: Callable[[], None] = lambda: None
        self._process = process

    def store(self) -> SyncStore:
        return SyncStore(self._process)

    def lease_store(self, within: float) -> SyncStore:
        return SyncStore(self._process)

    def outcome_store(self, within: float | None = None) -> AsyncStore:
        return AsyncStore(self._process)

    def async_store(self, within: float | None = None) -> AsyncStore:
        return AsyncStore(self._process)

    async def held_up(self, store: Any, *, seconds: float) -> str | None:
        return None

    async def watch(
        self, store: AsyncStore, hint: Callable[[], None], idle: Callable[[], float]
    ) -> None:
        self.hint = hint
        await asyncio.Event().wait()


class Stopping:
    """The event by which the thread of a lease keeper is stopped, for a greenlet."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float) -> bool:
        if not self._is_set:
            await_only(asyncio.sleep(seconds))
        return self._is_set


class Keeper(LeaseKeeper):
    """The lease keeper; instead of a thread, a greenlet of the process's loop."""

    def start(self) -> None:
        self._stopping = Stopping()  # type: ignore[assignment]
        self._task = asyncio.get_running_loop().create_task(greenlet_spawn(self.run))

    def join(self, timeout: float | None = None) -> None:
        """It ends when it looks next."""

    def _watch_the_loop(self) -> None:
        """Its loop is its own."""


class Worker(jobq.Worker):
    def _keeper(self, slots: Slots) -> LeaseKeeper:
        keeper = super()._keeper(slots)
        keeper.__class__ = Keeper
        return keeper


@cache
def router(*, handles: bool) -> jobq.Router:
    """The handlers, each parked until the script says how it ends."""
    found = jobq.Router()
    retry = jobq.Retry(backoff=jobq.Fixed(7))
    for type, limits in LIMITS.items() if handles else ():
        timeout = 40 if type == "plain" else None
        found.handler(type, limits=limits, retry=retry, timeout=timeout)(handle)
    return found


async def handle(payload: dict[str, int], job: jobq.JobContext) -> str:
    loop = cast("Loop", asyncio.get_running_loop())
    process: WorkerProcess = loop.process
    attempt = Attempt(process, job, loop.create_future())
    process.world.checker.started(job._attempt, process.world)  # type: ignore[arg-type]
    process.attempts.append(attempt)
    if job.type == "keyed":
        process.world.checker.given(
            job._attempt,  # type: ignore[arg-type]
            job.key("keys"),
            process.world,
        )
    try:
        while True:
            how = await attempt.end
            attempt.end = loop.create_future()
            if not await _goes_on(how, job, process):
                return how
    finally:
        process.attempts.remove(attempt)


async def _goes_on(  # noqa: C901, PLR0912  a list of what handlers do
    how: str, job: jobq.JobContext, process: WorkerProcess
) -> bool:
    """Do what the script says; whether the handler runs on after it."""
    match how:
        case "raises":
            raise RuntimeError(how)
        case "is lost":
            raise ConnectionRefusedError(how)
        case "gives up":
            raise jobq.Permanent("no")
        case "cancels":
            raise jobq.Cancel(how)
        case "snoozes":
            raise jobq.Snooze(11)
        case "retries":
            raise jobq.RetryAfter(3)
        case "is refused":
            raise jobq.RateLimited(4)
        case "progresses":
            await job.progress(50, how)
            return True
        case "settles":
            if "rate" in job._attempt.debits:
                units = 0 if job._attempt.debits["rate"] else 1
                process.world.checker.settled(job._attempt, units)  # type: ignore[arg-type]
                await job.settle(units, limit="rate")
            return True
        case "steps":
            await job.step(f"step:{len(job._attempt.book.used)}", _work, process.name)
            return True
        case "sleeps":
            await job.sleep(6, name=f"nap:{len(job._attempt.book.used)}")
            return True
        case "completes":
            completion = job._completion("by itself")
            accepted = await process.send(ops.complete, **completion)
            job._completed(completion, accepted=accepted)
    return False


async def _work(name: str) -> str:
    return name


HOW = (
    "returns",
    "raises",
    "is lost",
    "gives up",
    "cancels",
    "snoozes",
    "retries",
    "is refused",
    "progresses",
    "settles",
    "steps",
    "sleeps",
    "completes",
)


def _queue(process: Process, known: jobq.Router, *, joins_claims: bool) -> jobq.AsyncQueue:
    clock = WorkerClock(process.world.time)
    queue = jobq.AsyncQueue(Backend.url, router=known, keep=None, clock=clock)
    vars(queue._config)["backend"] = Backend(process, joins_claims=joins_claims)
    return queue


class WorkerProcess(Process):
    """A process that runs a worker."""

    def __init__(self, world: World, name: str, *, joins_claims: bool) -> None:
        super().__init__(world, name)
        self.attempts: list[Attempt] = []
        queue = _queue(self, router(handles=True), joins_claims=joins_claims)
        self._backend = cast("Backend", queue._config.backend)
        self.worker = Worker(queue, concurrency=2, lease=LEASE, margin=MARGIN, grace=3.0)
        self.worker.id = name
        self.task = self.spawn(self._live())

    async def _live(self) -> None:
        try:
            await self.worker._run(None, None, None)
        except BackendUnavailable:
            if not self.is_dead:  # where a database cannot be reached at the start, try again
                await asyncio.sleep(1.0)
                self.task = self.spawn(self._live())
        except Exception as error:
            self.world.checker.must(self.is_dead, "no worker ends by itself", repr(error))
            if not self.is_dead:
                raise

    def hint(self) -> None:
        self.loop.call_soon(self._backend.hint)

    def stop(self) -> None:
        self.loop.call_soon(self.worker.stop)


class Caller(Process):
    """A process that enqueues jobs and moves them by hand."""

    def __init__(self, world: World, name: str, *, knows: bool) -> None:
        super().__init__(world, name)
        self._queue = _queue(self, router(handles=knows), joins_claims=False)

    def call(self, verb: str, *args: Any, **kwargs: Any) -> None:
        self.spawn(self._call(verb, args, kwargs))

    async def _call(self, verb: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        with suppress(jobq.JobqError):
            answer = await getattr(self._queue, verb)(*args, **kwargs)
            self.world.checker.acknowledged(verb, answer)
