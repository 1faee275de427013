"""`jobq worker`. Other commands can reuse its arguments and `run_worker`."""

from __future__ import annotations

import gc
import os
from argparse import ArgumentParser, Namespace
from threading import Timer
from typing import TYPE_CHECKING, Any

from attrs import evolve

from jobq._errors import ConfigurationError, JobqError, WorkerFailed
from jobq._limits import RateLimit
from jobq._queue import AsyncQueue, Queue
from jobq._settings import Settings
from jobq.cli import _options as options
from jobq.cli._app import load_queue
from jobq.cli._leaving import leave, leave_within
from jobq.cli._logging import set_up_logging
from jobq.cli._reload import own_command, run_again_on_change
from jobq.observe import logger

if TYPE_CHECKING:
    from jobq._worker import Worker
    from jobq.cli._options import Commands

TEARDOWN = 2.0
"""Seconds that the event loop gets to end what handlers left behind."""


def add(commands: Commands) -> None:
    """Add `jobq worker`."""
    parser = options.add_command(commands, worker, "worker")
    parser.add_argument(
        "app", nargs="?", metavar="MODULE:QUEUE", help="the app's queue, as in app:queue [JOBQ_APP]"
    )
    add_worker_arguments(parser)
    again = "restart when a .py file below this folder changes"
    parser.add_argument("--reload", action="store_true", help=again)


def add_worker_arguments(parser: ArgumentParser) -> None:
    """Add everything that a worker can be told, but for its queue."""
    add = parser.add_argument
    add("--queues", type=options.name_list, metavar="A,B", help="the queues to serve (default all)")
    add("--concurrency", type=options.count, metavar="N", help="jobs at a time (default 10)")
    add(
        "--threads",
        type=options.count,
        metavar="N",
        help="how many of them in def handlers (default: as many as --concurrency)",
    )
    add(
        "--ahead",
        type=options.count_or_none,
        metavar="N",
        help="how many short jobs to hold ahead of the slots at most, 0 for none (default 1000)",
    )
    add("--burst", action="store_true", help="end when no job is due, running or due within 5 s")
    add("--max-jobs", type=options.count, metavar="N", help="end after this many jobs")
    add("--max-seconds", type=options.seconds, metavar="S", help="end after this many seconds")
    add(
        "--lease",
        type=options.seconds,
        metavar="S",
        help="seconds after which other workers take a dead worker's jobs (default 30)",
    )
    add(
        "--grace",
        type=options.seconds,
        metavar="S",
        help="seconds that running jobs get to finish at SIGTERM (default 8)",
    )
    add("--label", help="the worker's name for people (default: host, process and a random part)")
    add("--port", type=options.port, metavar="N", help="answer GET /health and /ready there")
    add("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR (default INFO)")


def worker(args: Namespace) -> int:
    """Run jobs until SIGTERM or SIGINT; a second signal stops it at once."""
    app = args.app or Settings.from_environment().app
    if app is None:
        raise ConfigurationError("which queue? Give it as module:attribute, or set JOBQ_APP")
    if args.reload:
        return reload_worker(args)
    return run_worker(args, load_queue(app))


def reload_worker(args: Namespace) -> int:
    """Run this process's own command again whenever the code changes, without `--reload`."""
    settings = Settings.from_environment()
    set_up_logging(args.log_level or settings.log_level)
    grace = _first(args.grace, settings.grace, 8.0)
    return run_again_on_change([word for word in own_command() if word != "--reload"], grace)


def run_worker(args: Namespace, queue: Queue | AsyncQueue) -> int:
    """Run a worker as `add_worker_arguments` were parsed, and return the exit code.

    The environment stands in for what was not given. Where a handler ignores its cancellation
    the process ends here: with 0 if the worker was asked to stop, with 70 if all slots hang.
    """
    set_up_logging(args.log_level or Settings.from_environment().log_level)
    return serve(make_worker(args, queue), args)


def make_worker(args: Namespace, queue: Queue | AsyncQueue) -> Worker:
    """A worker as `add_worker_arguments` were parsed; the environment stands in for the rest."""
    from jobq._worker import Worker

    settings = Settings.from_environment()
    if settings.jobs_per_second is not None:
        limit_default_queue(queue, settings.jobs_per_second)
    return Worker(queue, **_worker_options(args, settings))


def serve(worker: Worker, args: Namespace) -> int:
    """Run a worker until it is stopped or done, and return the exit code."""
    import asyncio

    # What a worker has when it begins stays: each full collection would walk it for 30 ms and more.
    worker._set_up = gc.freeze  # noqa: SLF001  only here is the process the worker's own
    code, timer = asyncio.run(_until_ended(worker, args))
    timer.cancel()
    return code


def limit_default_queue(queue: Queue | AsyncQueue, rate: float) -> None:
    """MAX_JOBS_PER_SECOND: a limit of the queue "default", unless the code declares some."""
    config = queue._config  # noqa: SLF001  a face of the configuration
    if rate <= 0:
        raise ConfigurationError(f"MAX_JOBS_PER_SECOND={rate:g} must be above 0")
    n = max(1, int(rate))
    limit = RateLimit("queue:default", n, per=n / rate)
    by_queue = {"default": (limit,), **config.limits.by_queue}
    config.limits = evolve(config.limits, by_queue=by_queue)


async def _until_ended(worker: Worker, args: Namespace) -> tuple[int, Timer]:
    """Run a worker; the exit code, and the timer that bounds the end of the event loop."""
    widen_default_executor(worker._concurrency)  # noqa: SLF001  nobody else needs to know it
    code = 0
    try:
        await worker.run(burst=args.burst, max_jobs=args.max_jobs, max_seconds=args.max_seconds)
    except WorkerFailed as error:
        logger.critical("%s", error)
        from jobq._worker.lease import EXIT_BLOCKED

        leave(EXIT_BLOCKED)
    except JobqError:
        raise
    except Exception:  # noqa: BLE001  a lifespan may raise any
        logger.exception("the worker failed")
        code = 1
    if worker.hanging:
        logger.warning("ending although these still run: %s", ", ".join(worker.hanging))
        leave(code)
    return code, leave_within(TEARDOWN, code)


def widen_default_executor(slots: int) -> None:
    """Each slot's handler finds a thread for `asyncio.to_thread`: Python has few on few CPUs."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    usual = min(32, (os.cpu_count() or 1) + 4)
    executor = ThreadPoolExecutor(max(slots, usual), thread_name_prefix="jobq to_thread")
    asyncio.get_running_loop().set_default_executor(executor)


def _worker_options(args: Namespace, settings: Settings) -> dict[str, Any]:
    queues = args.queues
    if queues is None and settings.queues is not None:
        queues = [name.strip() for name in settings.queues.split(",") if name.strip()] or None
    given = {
        "queues": queues,
        "concurrency": _first(args.concurrency, settings.concurrency),
        "threads": args.threads,
        "ahead": args.ahead,
        "lease": _first(args.lease, settings.lease),
        "grace": _first(args.grace, settings.grace),
        "label": _first(args.label, settings.worker_id),
        "port": _first(args.port, settings.port),
    }
    return {name: value for name, value in given.items() if value is not None}


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
