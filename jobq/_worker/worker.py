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

from anyio import CapacityLimiter

from jobq import backends
from jobq._clock import SECOND
from jobq._config import Config
from jobq._errors import ConfigurationError, JobqError
from jobq._masking import hide_environment
from jobq._outcome import Outcome, Refused, Released, Stopped
from jobq._payload import dumps
from jobq._queue import AsyncQueue, Queue
from jobq._wakeup import listen
from jobq._worker.claimer import Claimer
from jobq._worker.deadlines import Deadlines
from jobq._worker.execute import attempt, timed_out
from jobq._worker.finisher import Finisher
from jobq._worker.health import health_server
from jobq._worker.lease import LeaseKeeper
from jobq._worker.progress import ProgressWriter
from jobq._worker.running import Running
from jobq._worker.signals import shutdown_signals
from jobq._worker.upkeep import Upkeep
from jobq.observe import logger, name_jobs_in_log_records

BURST_WINDOW = 5.0
LINGER = 1.0
"""Seconds that cancelled handlers get to clean up when the worker shuts down."""


class HandlersAbandoned(JobqError):
    """Every slot of the worker is taken by a handler that ignores its cancellation."""


class Worker:
    """Runs a queue's jobs.

    - `queue`: a `Queue` or `AsyncQueue`, with the handlers.
    - `queues`: the names of the queues to serve; by default all.
    - `concurrency`: how many jobs at a time. `threads`: how many of them in `def` handlers.
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
        lease: float = 30.0,
        grace: float = 8.0,
        label: str | None = None,
        port: int | None = None,
        margin: float = 10.0,
    ) -> None:
        self._config: Config = queue._config  # noqa: SLF001  a face of the configuration
        self._router = self._config.router
        _whole(concurrency=concurrency, threads=concurrency if threads is None else threads)
        _above_zero(lease=lease, margin=margin)
        if isinstance(grace, bool) or not isinstance(grace, int | float) or not grace >= 0:
            raise ConfigurationError(f"Worker(grace={grace!r}) must be 0 or more")
        if queues is not None and not _are_names(queues):
            raise ConfigurationError(f"queues={queues!r} must be a list of names")
        self._queues = queues
        self._concurrency = concurrency
        self._threads = concurrency if threads is None else threads
        self._lease = lease
        self._grace = grace
        self._margin = margin
        self._port = port
        host = platform.node() or "localhost"
        self.id = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self._label = label or self.id
        self._held: dict[str, Running] = {}
        self._abandoned: set[Running] = set()
        self._state: Any = None
        self._claimer: Claimer | None = None
        self._ended = asyncio.Event()
        self._at_once = False
        self._closing = False
        self._stuck: HandlersAbandoned | None = None
        self._executed = 0
        self._stop_requested = False

    @property
    def hanging(self) -> list[str]:
        """The handlers that ignored their cancellation and still run."""
        return sorted({running.name for running in self._abandoned})

    def stop(self, at_once: bool = False) -> None:
        """Stop claiming, let running jobs finish within the grace, and end. Any thread may call."""
        self._stop_requested = True
        self._at_once = self._at_once or at_once
        if self._claimer is not None:
            self._in_loop(self._claimer.stop)
            self._in_loop(self._ended.set)

    async def run(
        self, *, burst: bool = False, max_jobs: int | None = None, max_seconds: float | None = None
    ) -> int:
        """Run jobs until the worker is stopped; how many were run.

        With `burst`, until no job that it can take is due, running, or due again within 5 s.
        `max_jobs` and `max_seconds` end it sooner. SIGTERM and SIGINT end it gracefully, when
        this runs in the main thread.
        """
        window = BURST_WINDOW if burst else None
        with shutdown_signals(self.stop):
            return await self._run(window, max_jobs, max_seconds)

    async def run_once(self, max_jobs: int | None = None, max_seconds: float | None = None) -> int:
        """Run what is due now, and return how many jobs that were: for cron and functions."""
        return await self._run(0.0, max_jobs, max_seconds)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Worker]:
        """Run the worker inside an app, for as long as the block lasts."""
        task = asyncio.create_task(self._run(None, None, None), name="jobq worker")
        try:
            yield self
        finally:
            self.stop()
            await task

    async def _run(
        self, window: float | None, max_jobs: int | None, max_seconds: float | None
    ) -> int:
        if not self._router.types:
            raise ConfigurationError(
                "this worker has no handlers: import the modules that declare them before it runs"
            )
        self._closing = self._at_once = False
        self._executed = 0
        name_jobs_in_log_records()
        hide_environment()
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            if self._config.lifespan is not None:
                self._state = await stack.enter_async_context(self._config.lifespan())
            store = self._config.async_store()
            stack.push_async_callback(store.aclose)
            await store.run(backends.ops.survey, types=[])  # fail here if it cannot work at all
            parts = self._assemble(store, window, max_jobs)
            if self._port is not None:
                ready = self._is_ready
                await stack.enter_async_context(health_server(self._port, ready))
            await self._work(store, parts, max_seconds)
        if self._stuck is not None:
            raise self._stuck
        return self._executed

    def _is_ready(self) -> bool:
        return not self._closing

    def _assemble(
        self, store: backends.AsyncStore, window: float | None, max_jobs: int | None
    ) -> dict[str, Any]:
        """The parts, wired together."""
        keep, observers = self._config.keep, self._config.observers
        backend = self._config.backend
        self._store = store
        self._limiter = CapacityLimiter(self._threads)
        self._chains = {name: self._chain(name) for name in self._router.types}
        self._deadlines = Deadlines(self._held.values, self._deadline_reached)
        self._progress = ProgressWriter(store, observers)
        self._finisher = Finisher(
            store,
            worker=self.id,
            keep=keep,
            bounds=self._config.bounds,
            observers=observers,
            freed=self._freed,
            requeued=self._requeued,
        )
        self._claimer = Claimer(
            store,
            self._router,
            worker=self.id,
            queues=self._queues,
            lease=self._lease,
            margin=self._margin,
            keep=keep,
            free=self._free,
            start=self._start,
            busy=lambda: bool(self._held),
            fallback=lambda: backend.fallback_poll,
            quota=max_jobs,
            burst_window=window,
        )
        if self._stop_requested:
            self._claimer.stop()
        upkeep = Upkeep(
            store,
            lease=self._lease,
            keep=keep,
            observers=observers,
            rescued=self._requeued,
        )
        return {"upkeep": upkeep, "backend": backend}

    def _chain(self, type: str) -> Any:
        handler = self._router.get(type)
        assert handler is not None
        return self._router.chain(handler)

    async def _work(
        self, store: backends.AsyncStore, parts: dict[str, Any], max_seconds: float | None
    ) -> None:
        claimer = self._claimer
        assert claimer is not None
        keeper = self._keeper()
        unlisten = listen(parts["backend"].identity, lambda: self._in_loop(claimer.wake))
        services = [
            asyncio.create_task(self._finisher.run(), name="jobq finisher"),
            asyncio.create_task(self._progress.run(), name="jobq progress"),
            asyncio.create_task(parts["upkeep"].run(), name="jobq upkeep"),
            asyncio.create_task(self._watch(store, parts["backend"], claimer), name="jobq watch"),
        ]
        for service in services:
            service.add_done_callback(self._service_ended)
        keeper.start()
        logger.info("worker %s runs %s", self._label, ", ".join(self._router.types))
        try:
            # Not a cancellation: a claim under way must be answered, its jobs are ours already.
            budget = self._loop.call_later(max_seconds, claimer.stop) if max_seconds else None
            await claimer.run()
            if budget is not None:
                budget.cancel()
            await self._close_down()
        finally:
            self._closing = True
            self._deadlines.close()
            unlisten()
            for service in services:
                service.cancel()
            await asyncio.gather(*services, return_exceptions=True)
            keeper.stop()
            await asyncio.to_thread(keeper.join, 2.0)
            with suppress(JobqError):
                await store.run(backends.ops.forget_worker, self.id)
            logger.info("worker %s has ended after %d jobs", self._label, self._executed)

    def _service_ended(self, service: asyncio.Task[None]) -> None:
        """A part that fails on its own ends the worker loudly."""
        if service.cancelled() or service.exception() is None:
            return
        logger.critical("%s failed", service.get_name(), exc_info=service.exception())
        self._stuck = HandlersAbandoned(f"{service.get_name()} failed: {service.exception()}")
        self.stop(at_once=True)

    async def _watch(
        self, store: backends.AsyncStore, backend: backends.Backend, claimer: Claimer
    ) -> None:
        await backend.watch(store, claimer.wake, lambda: time.monotonic() - claimer.worked_at)

    def _keeper(self) -> LeaseKeeper:
        return LeaseKeeper(
            self._config.store(),
            lease=self._lease,
            margin=self._margin,
            held=lambda: list(self._held.values()),
            report=self._report,
            in_loop=self._in_loop,
            lost=self._lost,
            cancelled=lambda running: running.stop("cancel"),
        )

    def _in_loop(self, call: Callable[..., object], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(call, *args)

    def _report(self) -> dict[str, Any]:
        """The worker's row in `jobq_worker`."""
        return {
            "id": self.id,
            "label": self._label,
            "host": platform.node(),
            "pid": os.getpid(),
            "queues": dumps(list(self._queues) if self._queues is not None else []),
            "types": dumps(self._router.types),
            "slots": self._concurrency,
            "busy": len(self._held),
            "abandoned": len(self._abandoned),
            "lease": round(self._lease * SECOND),
        }

    # --- one job -----------------------------------------------------------------------------

    def _free(self) -> int:
        return self._concurrency - len(self._held) - len(self._abandoned)

    def _start(self, claimed: Sequence[Any]) -> None:
        observers = self._config.observers
        for job in claimed:
            handler = self._router.get(job.type)
            assert handler is not None
            running = Running(
                job,
                handler,
                state=self._state,
                keep=self._config.keep,
                dialect=self._store.dialect,
                result_limit=self._config.bounds.result,
            )
            running.on_report = self._progress.note
            self._held[job.id] = running
            self._executed += 1
            if observers:
                observers.job_claimed(job.id, job.type, job.attempts, self.id)
            if job.expires_at is not None and job.expires_at <= job.started_at:
                reason = "it was not started before its expires_at"
                self._finisher.add(running, Refused("expired", reason, started=False))
                continue
            running.task = self._loop.create_task(self._execute(running))
            running.task.add_done_callback(partial(self._task_ended, running))
            if job.timeout_ms:
                running.deadline = self._loop.time() + job.timeout_ms / 1000
                self._deadlines.watch(running.deadline)

    async def _execute(self, running: Running) -> None:
        job = running.job
        if self._config.observers:
            self._config.observers.job_started(job.id, job.type, job.attempts)
        outcome = await attempt(
            running, self._chains[job.type], threads=self._limiter, bounds=self._config.bounds
        )
        self._deliver(running, outcome)

    def _deliver(self, running: Running, outcome: Outcome | None) -> None:
        if running.finishing:
            return  # its outcome was written without it
        if outcome is None:
            running.finishing = True
            logger.warning(
                "job %s was lost to another claim; its outcome is dropped", running.job.id
            )
            self._config.observers.lease_lost(running.job.id, running.job.type)
            self._freed([running])
        else:
            self._finisher.add(running, outcome)

    def _task_ended(self, running: Running, _: asyncio.Task[None]) -> None:
        if running in self._abandoned:
            self._abandoned.discard(running)
            self._wake_claimer()
        if not running.finishing:  # cancelled before its first step
            reason = running.stopping
            outcome: Outcome = Released("the worker was shutting down")
            if reason == "cancel":
                outcome = Stopped("cancelled before it began")
            elif reason == "timeout":
                outcome = timed_out(running, self._config.bounds)
            self._deliver(running, None if reason == "lease" else outcome)

    def _deadline_reached(self, running: Running) -> None:
        """Ask the handler to stop; the second time, give its slot up."""
        if running.finishing:
            return
        if running.stopping == "timeout":
            self._abandon(running)
            return
        running.stop("timeout")
        running.deadline = self._loop.time() + self._margin / 2
        self._deadlines.watch(running.deadline)

    def _abandon(self, running: Running) -> None:
        logger.error("%s ignores its cancellation: its slot is lost until it ends", running.name)
        running.abandoned = True
        self._abandoned.add(running)
        self._finisher.add(running, timed_out(running, self._config.bounds))
        if len(self._abandoned) >= self._concurrency:
            names = ", ".join(sorted({stuck.name for stuck in self._abandoned}))
            self._stuck = HandlersAbandoned(f"every slot is taken by handlers that hang: {names}")
            self.stop(at_once=True)

    def _lost(self, running: Running) -> None:
        if not running.finishing:
            logger.warning("lost the lease of job %s (%s)", running.job.id, running.job.type)
        running.stop("lease")

    def _freed(self, ended: Sequence[Running]) -> None:
        for running in ended:
            if self._held.get(running.job.id) is running:
                del self._held[running.job.id]
        self._wake_claimer()
        if not self._held:
            self._ended.set()

    def _requeued(self, queues: set[str]) -> None:
        self._wake_claimer()
        for queue in queues:
            self._store.notify(queue)

    def _wake_claimer(self) -> None:
        if self._claimer is not None:
            self._claimer.wake()

    # --- the end -----------------------------------------------------------------------------

    async def _close_down(self) -> None:
        """Give running jobs their grace, then cancel them, and give back what is left."""
        self._closing = True
        await self._until_idle(lambda: 0.0 if self._at_once else self._grace)
        left = [running for running in self._held.values() if not running.finishing]
        if left:
            logger.warning("giving %d unfinished jobs back", len(left))
        for running in left:
            running.stop("shutdown")
        await self._until_idle(lambda: LINGER)
        for running in [r for r in self._held.values() if not r.finishing]:
            logger.warning("%s does not stop; its job is given back", running.name)
            self._finisher.add(running, Released("the worker was shutting down"))
            self._abandoned.add(running)
        await self._until_idle(lambda: 5.0)

    async def _until_idle(self, patience: Callable[[], float]) -> None:
        """Wait until nothing is held any more, or patience has run out (it may, on a signal)."""
        started = time.monotonic()
        while self._held or not self._finisher.idle:
            left = started + patience() - time.monotonic()
            if left <= 0:
                return
            self._ended.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, 0.5)):
                    await self._ended.wait()


def _whole(**options: int) -> None:
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigurationError(f"Worker({name}={value!r}) must be an integer from 1")


def _are_names(queues: Sequence[str]) -> bool:
    named = not isinstance(queues, str) and all(isinstance(name, str) for name in queues)
    return named and len(queues) > 0


def _above_zero(**options: float) -> None:
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ConfigurationError(f"Worker({name}={value!r}) must be above 0")
