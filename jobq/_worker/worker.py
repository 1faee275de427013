"""The worker: its options, its parts, and how it starts and ends."""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

from jobq import backends
from jobq._clock import SECOND
from jobq._config import Config
from jobq._errors import JobqError, WorkerFailed
from jobq._masking import hide_environment
from jobq._payload import dumps
from jobq._queue import AsyncQueue, Queue
from jobq._wakeup import listen
from jobq._worker.ahead import MOST
from jobq._worker.claimer import Claimer
from jobq._worker.corrections import Corrections
from jobq._worker.finisher import Finisher
from jobq._worker.health import exposition, health_server
from jobq._worker.lanes import Lanes
from jobq._worker.lease import LeaseKeeper
from jobq._worker.limits import declare_limits, warn_of_few_slots
from jobq._worker.options import (
    check_bounds,
    check_handlers,
    check_numbers,
    check_queues,
    check_whole,
)
from jobq._worker.progress import ProgressWriter
from jobq._worker.recorder import Recorder
from jobq._worker.relay import Relay
from jobq._worker.services import end, leave, tell_failure
from jobq._worker.signals import shutdown_signals
from jobq._worker.slots import Slots
from jobq._worker.tally import Tally
from jobq._worker.ticker import Ticker
from jobq._worker.upkeep import Upkeep
from jobq.observe import logger, name_jobs_in_log_records

BURST_WINDOW = 5.0
SHORTEST_WAIT = 1.0
"""Seconds that the database has for an answer, however short the lease is."""


class Worker:
    """Runs a queue's jobs.

    - `queue`: a `Queue` or `AsyncQueue`, with the handlers.
    - `queues`: the names of the queues to serve; by default all.
    - `concurrency`: how many jobs at a time. `threads`: how many of them in `def` handlers.
    - `ahead`: how many short jobs to hold ahead of the slots at most, as far as what is measured
      allows; 0 for none.
    - `lease`: seconds after which another worker takes the jobs of a dead one.
    - `grace`: seconds that running jobs get to finish at shutdown.
    - `label`: a name for people; the identity is random for each process.
    - `port`: where to answer `GET /health` and `/ready`; none by default.

    >>> worker = Worker(queue, concurrency=5)
    >>> async with worker.running():  # inside an app           # doctest: +SKIP
    ...     yield
    >>> await worker.run()  # until it is stopped     # doctest: +SKIP
    """

    def __init__(
        self,
        queue: Queue | AsyncQueue,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int = 10,
        threads: int | None = None,
        ahead: int = MOST,
        lease: float = 30.0,
        grace: float = 8.0,
        label: str | None = None,
        port: int | None = None,
        margin: float = 10.0,
    ) -> None:
        self._config: Config = queue._config  # noqa: SLF001  a face of the configuration
        self._router = self._config.router
        threads = concurrency if threads is None else threads
        check_numbers(
            whole={"concurrency": concurrency, "threads": threads},
            seconds={"lease": lease, "margin": margin},
            grace=grace,
        )
        check_whole("ahead", ahead, least=0)
        check_queues(queues)
        self._queues = queues
        self._concurrency = concurrency
        self._threads = threads
        self._ahead = ahead
        self._lease = lease
        self._grace = grace
        self._margin = margin
        self._port = port
        self.id = f"{platform.node() or 'localhost'}-{os.getpid()}-{secrets.token_hex(4)}"
        self._label = label or self.id
        self._slots: Slots | None = None
        self._state: Any = None
        self._claimer: Claimer | None = None
        self._lanes = Lanes(self._config, queues)
        self._at_once = False
        self._closing = False
        self._failure: WorkerFailed | None = None
        self._stop_requested = False
        self._tally = Tally()
        self._set_up: Callable[[], None] = lambda: None
        """Called when all that is used for most jobs is imported and compiled."""

    @property
    def hanging(self) -> list[str]:
        """The handlers that ignored their cancellation and still run."""
        return self._slots.hanging if self._slots is not None else []

    @property
    def opens_at(self) -> int | None:
        """When a limit that holds jobs back opens, by the database's clock; `None` if none does."""
        return self._lanes.opens_at

    def stop(self, at_once: bool = False) -> None:
        """Stop claiming, let running jobs finish within the grace, and end. Any thread may call."""
        self._stop_requested = True
        self._at_once = self._at_once or at_once
        if self._claimer is not None:
            self._in_loop(self._claimer.stop)
            self._in_loop(self._hurry)

    def _hurry(self) -> None:
        if self._slots is not None:
            self._slots.hurry()

    async def run(
        self, *, burst: bool = False, max_jobs: int | None = None, max_seconds: float | None = None
    ) -> int:
        """Run jobs until the worker is stopped; how many were run.

        With `burst`, until no job that it can take is due, running, or due again within 5 s. It
        ends sooner when `max_jobs` have run to their end, or after `max_seconds`: jobs that run
        then get their grace. SIGTERM and SIGINT end it gracefully, when this runs in the main
        thread.
        """
        with shutdown_signals(self.stop):
            return await self._run(BURST_WINDOW if burst else None, max_jobs, max_seconds)

    async def run_once(self, max_jobs: int | None = None, max_seconds: float | None = None) -> int:
        """Run what is due now, and return how many jobs that were: for cron and functions."""
        return await self._run(0.0, max_jobs, max_seconds)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Worker]:
        """Run the worker inside an app, for as long as the block lasts."""
        check_handlers(self._router)
        task = asyncio.create_task(self._run(None, None, None), name="jobq worker")
        task.add_done_callback(tell_failure)
        try:
            yield self
        finally:
            self.stop()
            await task

    async def _run(
        self, window: float | None, max_jobs: int | None, max_seconds: float | None
    ) -> int:
        check_handlers(self._router)
        check_bounds(max_jobs, max_seconds)
        self._closing = self._at_once = False
        name_jobs_in_log_records()
        hide_environment()
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            if self._config.lifespan is not None:
                self._state = await stack.enter_async_context(self._config.lifespan())
            within = max(SHORTEST_WAIT, self._lease / 2)  # what is claimed later is nearly lost
            store = self._config.async_store(within)
            stack.push_async_callback(store.aclose)
            await store.run(backends.ops.survey, types=[])  # fail here if it cannot work at all
            outcomes = self._config.outcome_store(within) or store
            if outcomes is not store:
                stack.push_async_callback(outcomes.aclose)
                await outcomes.run(backends.ops.survey, types=[])  # have it before others take all
            if window is None:
                backends.ops.compile_cycle(store.dialect)
            slots, claimer = self._assemble(store, outcomes, window, max_jobs)
            await declare_limits(store, self._lanes, self.id)
            await warn_of_few_slots(store, self._router, self._concurrency)
            self._ticker = Ticker(store, self._config)
            await self._ticker.start()
            if self._port is not None:
                told = partial(exposition, self._config, store)
                await stack.enter_async_context(health_server(self._port, self._is_ready, told))
            self._set_up()
            await self._work(store, slots, claimer, max_seconds)
        if self._failure is not None:
            raise self._failure
        return slots.started

    def _is_ready(self) -> bool:
        return not (self._closing or self._stop_requested)

    def _assemble(
        self,
        store: backends.AsyncStore,
        outcomes: backends.AsyncStore,
        window: float | None,
        max_jobs: int | None,
    ) -> tuple[Slots, Claimer]:
        """The parts, wired together."""
        config, backend = self._config, self._config.backend
        self._store = store
        self._relay = Relay(store, config)
        self._progress = ProgressWriter(store, config.observers)
        lanes = self._lanes = Lanes(config, self._queues)  # what an earlier run knew is old
        slots = self._slots = Slots(
            config,
            worker=self.id,
            state=self._state,
            dialect=store.dialect,
            count=self._concurrency,
            ahead=self._ahead,
            lease=self._lease,
            threads=self._threads,
            margin=self._margin,
            report=self._progress.note,
            is_closed=lanes.are_keys_closed,
            corrections=Corrections(store, closed=lanes.close, eased=self._wake_claimer),
            recorder=Recorder(store),
            leaving=lambda: "the worker was shutting down" if self._stop_requested else None,
            freed=self._slot_freed,
            spared=self._job_spared,
            stuck=self._every_slot_hangs,
        )
        claimer = self._claimer = Claimer(
            store,
            outcomes,
            config,
            lanes,
            worker=self.id,
            queues=self._queues,
            lease=self._lasting,
            margin=self._margin,
            free=lambda: slots.free,
            room=slots.room,
            singly=lambda: slots.singly,
            holds_ahead=lambda: slots.holds_ahead,
            waiting=lambda: slots.waiting,
            start=slots.start,
            busy=lambda: bool(slots.held),
            fallback=lambda: backend.fallback_poll,
            quota=max_jobs,
            burst_window=window,
            learned=partial(declare_limits, store, lanes, self.id),
        )
        slots.finisher = Finisher(
            outcomes,
            worker=self.id,
            config=config,
            closed=lambda closing: lanes.close(closing.key, closing.delay / SECOND),
            freed=self._relay.after(slots.freed),
            requeued=self._requeued,
            tally=self._tally,
            claimer=claimer if backend.joins_claims else None,
        )
        if self._stop_requested:
            claimer.stop()
        return slots, claimer

    async def _work(
        self,
        store: backends.AsyncStore,
        slots: Slots,
        claimer: Claimer,
        max_seconds: float | None,
    ) -> None:
        keeper = self._keeper(slots)
        unlisten = listen(self._config.backend.identity, lambda: self._in_loop(claimer.wake))
        services = self._services(store, slots, claimer)
        keeper.start()
        logger.info("worker %s runs %s", self._label, ", ".join(self._router.types))
        try:
            await self._claim_until_done(slots, claimer, max_seconds)
        finally:
            unlisten()
            await end(services)
            keeper.stop()
            await asyncio.to_thread(keeper.join, 2.0)
            await self._leave(store, slots)
            logger.info("worker %s has ended after %d jobs", self._label, slots.started)

    async def _claim_until_done(
        self, slots: Slots, claimer: Claimer, max_seconds: float | None
    ) -> None:
        # Not a cancellation: a claim under way must be answered, its jobs are ours already.
        limited = max_seconds is not None
        budget = self._loop.call_later(max_seconds or 0, claimer.stop) if limited else None
        try:
            await claimer.run()
        except asyncio.CancelledError:
            self._at_once = True
            raise
        finally:
            self._closing = True
            if budget is not None:
                budget.cancel()
            await self._close(slots)

    async def _close(self, slots: Slots) -> None:
        await slots.close(lambda: 0.0 if self._at_once else self._grace)

    def _lasting(self) -> float:
        """How many seconds a lease that begins now is to last."""
        return self._lease

    def _services(
        self, store: backends.AsyncStore, slots: Slots, claimer: Claimer
    ) -> list[asyncio.Task[None]]:
        upkeep = Upkeep(
            store,
            lease=self._lease,
            keep=self._config.keep,
            observers=self._config.observers,
            rescued=self._requeued,
            declare_limits=lambda: declare_limits(store, self._lanes, self.id),
            held_up=self._config.backend.held_up,
            tally=self._tally,
        )
        parts = {
            "jobq finisher": slots.finisher.run(),
            "jobq progress": self._progress.run(),
            "jobq upkeep": upkeep.run(),
            "jobq watch": self._config.backend.watch(
                store, claimer.wake, lambda: time.monotonic() - claimer.worked_at
            ),
        }
        for name, part in (("jobq schedules", self._ticker), ("jobq webhooks", self._relay)):
            if part:
                parts[name] = part.run()
        services = [asyncio.create_task(part, name=name) for name, part in parts.items()]
        for service in services:
            service.add_done_callback(self._service_ended)
        return services

    async def _leave(self, store: backends.AsyncStore, slots: Slots) -> None:
        keep = self._config.keep
        with suppress(JobqError):
            await slots.finisher.last_try()  # or else what was done would go back as not begun
            if await leave(store, self.id, label=self._label, tally=self._tally, keep=keep):
                self._requeued(set())
            await self._relay.round()

    def _service_ended(self, service: asyncio.Task[None]) -> None:
        """A part that ends on its own ends the worker loudly."""
        if service.cancelled():
            return
        error = service.exception()
        if error is not None or not self._closing:
            self._part_failed(service.get_name(), error)

    def _part_failed(self, name: str, error: BaseException | None) -> None:
        logger.critical("%s failed", name, exc_info=error)
        self._failure = WorkerFailed(f"{name} failed: {error or 'it ended'}")
        self.stop(at_once=True)

    def _keeper(self, slots: Slots) -> LeaseKeeper:
        return LeaseKeeper(
            self._config.lease_store(within=max(SHORTEST_WAIT, self._lease / 4)),
            lease=self._lease,
            lasting=self._lasting,
            margin=self._margin,
            held=slots.leased,
            report=self._report,
            tally=self._tally,
            in_loop=self._in_loop,
            lost=slots.lost,
            cancelled=lambda running: running.stop("cancel"),
            failed=self._part_failed,
        )

    def _in_loop(self, call: Callable[..., object], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(call, *args)

    def _report(self) -> dict[str, Any]:
        """The worker's row in `jobq_worker`."""
        from jobq import __version__  # which imports this

        return {
            "id": self.id,
            "label": self._label,
            "host": platform.node(),
            "pid": os.getpid(),
            "version": __version__,
            "queues": dumps(list(self._queues) if self._queues is not None else []),
            "types": dumps(self._router.types),
            "limits": dumps(self._lanes.declarations()),
            "pools": dumps(self._lanes.held_keys()),
            "slots": self._concurrency,
            "busy": len(self._slots.held) if self._slots is not None else 0,
            "abandoned": len(self._slots.abandoned) if self._slots is not None else 0,
            "lease": round(self._lease * SECOND),
        }

    def _requeued(self, queues: set[str]) -> None:
        """Jobs went back to their queues: here and elsewhere someone may take them."""
        self._wake_claimer()
        for queue in queues:
            self._store.notify(queue)

    def _wake_claimer(self) -> None:
        if self._claimer is not None:
            self._claimer.wake()

    def _slot_freed(self) -> None:
        if self._claimer is not None:
            self._claimer.slot_freed()

    def _job_spared(self) -> None:
        if self._claimer is not None:
            self._claimer.spared()

    def _every_slot_hangs(self, names: list[str]) -> None:
        message = f"every slot is taken by handlers that hang: {', '.join(names)}"
        self._failure = WorkerFailed(message)
        self.stop(at_once=True)
