"""The app that faults are tried on: `python -m tests.faults.app ROLE OPTIONS`.

A role is one process of a scenario; its options are JSON. A line on its standard input is an order
to go on, and its end is the end of the process: no actor outlives the one who started it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import jobq
from jobq import cli
from jobq.backends.postgres import hints
from tests.faults.history import History
from tests.faults.stage import Ending, Orders, Recorder, Stage, Warnings

router = jobq.Router()
queue: jobq.Queue
"""What the role `command` serves."""
Options = dict[str, Any]


# --- handlers -----------------------------------------------------------------------------------


def seconds_of(payload: dict, job: jobq.JobContext | jobq.SyncJobContext) -> float:
    """How long to work: `seconds`, and `again` where it is not the first attempt."""
    seconds = payload.get("seconds", 0.0)
    return float(seconds if job.attempt == 1 else payload.get("again", seconds))


@router.handler("noop")
async def noop(payload: dict) -> None:
    pass


@router.handler("step")
async def step(payload: dict, job: jobq.JobContext) -> str:
    """Work for some seconds; cancellation is noted and obeyed."""
    job.state.note("start", job=job.id, attempt=job.attempt)
    try:
        await asyncio.sleep(seconds_of(payload, job))
    except asyncio.CancelledError:
        job.state.note("told", job=job.id)
        raise
    job.state.note("end", job=job.id)
    return str(job.state.name)


@router.handler("step_in_thread")
def step_in_thread(payload: dict, job: jobq.SyncJobContext) -> str:
    job.state.note("start", job=job.id, attempt=job.attempt)
    time.sleep(seconds_of(payload, job))
    job.state.note("end", job=job.id)
    return str(job.state.name)


@router.handler("late_in_thread")
def late_in_thread(payload: dict, job: jobq.SyncJobContext) -> str:
    """Goes on when it is ordered to, whatever has happened to its job meanwhile."""
    job.state.note("start", job=job.id, attempt=job.attempt)
    job.state.orders.released.wait()
    if job.cancelled:
        job.state.note("told", job=job.id)
    job.state.note("end", job=job.id)
    return str(job.state.name)


@router.handler("late_commit")
def late_commit(payload: dict, job: jobq.SyncJobContext) -> None:
    """Completes the job in a transaction of its own, when it is ordered to."""
    job.state.note("start", job=job.id, attempt=job.attempt)
    job.state.orders.released.wait()
    insert = f"INSERT INTO app_row VALUES ('{job.id}', '{job.state.name}')"
    with closing(connect(job.state.url)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE" if is_sqlite(job.state.url) else "BEGIN")
            connection.execute(insert)
            job.complete(job.state.name, connection=connection)
            connection.execute("COMMIT")
        except jobq.LeaseLost:
            job.state.note("told", job=job.id)
            connection.execute("ROLLBACK")
            raise
    job.state.note("end", job=job.id)


@router.handler("block")
async def block(payload: dict, job: jobq.JobContext) -> str:
    """Blocks the event loop, as nobody should."""
    job.state.note("start", job=job.id, attempt=job.attempt)
    if job.attempt <= payload.get("attempts", 1):
        time.sleep(payload["seconds"])  # noqa: ASYNC251  this is the fault
    job.state.note("end", job=job.id)
    return str(job.state.name)


# --- connections of the app's own ---------------------------------------------------------------


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


def connect(url: str) -> Any:
    if is_sqlite(url):
        return sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30, isolation_level=None)
    import psycopg

    return psycopg.connect(url, autocommit=True)


# --- roles --------------------------------------------------------------------------------------

ROLES: dict[str, Callable[[Options, History, Orders], None]] = {}


def role(function: Callable[[Options, History, Orders], None]) -> Any:
    ROLES[function.__name__] = function
    return function


@role
def command(options: Options, history: History, orders: Orders) -> None:
    """Runs jobs as `jobq worker` does, until it is stopped."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Stage]:
        history.note("ready", pid=os.getpid())
        yield Stage(history, options["url"], orders)

    global queue  # noqa: PLW0603  the command finds its queue by name
    queue = jobq.Queue(
        options["url"], router=router, lifespan=lifespan, observers=[Recorder(history)]
    )
    sys.argv = ["jobq", "worker", f"{__name__}:queue", *options["arguments"]]
    sys.exit(cli.main())


@role
def worker(options: Options, history: History, orders: Orders) -> None:
    """Runs jobs until it is stopped."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Stage]:
        history.note("ready", worker=running.id, pid=os.getpid())
        yield Stage(history, options["url"], orders)

    queue = jobq.Queue(
        options["url"],
        router=router,
        lifespan=lifespan,
        observers=[Recorder(history)],
        **options.get("queue", {}),
    )
    if "fallback" in options:
        never_poll(queue, options["fallback"])
    names = ("concurrency", "threads", "lease", "grace", "margin")
    running = jobq.Worker(queue, **{name: options[name] for name in names if name in options})
    jobs = asyncio.run(running.run())
    history.note("ended", jobs=jobs)


def never_poll(queue: jobq.Queue, seconds: float) -> None:
    """Set the fall-back poll, whatever the backend finds."""
    backend = type(queue._config.backend)
    backend.fallback_poll = property(lambda _: seconds, lambda *_: None)  # type: ignore[assignment, misc]


@role
def enqueuer(options: Options, history: History, orders: Orders) -> None:
    """Enqueues jobs, `batch` after `batch`, until SIGTERM, and notes what it is told of each."""
    ending = Ending()
    history.note("ready", pid=os.getpid())
    queue = jobq.Queue(
        options["url"], router=router, observers=[Recorder(history)], **options.get("queue", {})
    )
    due = time.monotonic()
    with queue:
        while not ending.wait():
            try:
                ids = _enqueue_batch(queue, options)
                history.note("enqueued", ids=ids)
            except jobq.OutcomeUnknown as error:
                history.note("unknown", error=str(error))
            except jobq.BackendUnavailable as error:
                history.note("refused", error=str(error))
            due += random.uniform(0.0, options["gap"])  # an outage is made up for
            ending.wait(max(0.0, due - time.monotonic()))


def _enqueue_batch(queue: jobq.Queue, options: Options) -> list[str]:
    def payload() -> dict[str, float]:
        return {"seconds": random.uniform(0.0, options["seconds"])}

    if "batch" not in options:
        return [queue.enqueue("step", payload()).id]
    new = [("step", payload(), {"keep": options["keep"]}) for _ in range(options["batch"])]
    return [outcome.job.id for outcome in queue.enqueue_many(new) if outcome.job is not None]


@role
def backlog(options: Options, history: History, orders: Orders) -> None:
    """Keeps a backlog of jobs that do nothing, until SIGTERM."""
    ending = Ending()
    history.note("ready", pid=os.getpid())
    with jobq.Queue(options["url"], router=router) as queue, closing(connect(options["url"])) as db:
        while not ending.wait():
            [(ready,)] = db.execute("SELECT count(*) FROM jobq_job WHERE ready = 1").fetchall()
            if ready < options["least"]:
                queue.enqueue_many(("noop", {}) for _ in range(options["batch"]))
            else:
                ending.wait(0.02)


@role
def bursts(options: Options, history: History, orders: Orders) -> None:
    """Enqueues a burst at each order: one by one at random gaps, by threads, by tasks."""
    history.note("ready", pid=os.getpid())
    asyncio.run(_bursts(options, history, orders))


async def _bursts(options: Options, history: History, orders: Orders) -> None:
    def at_random(jobs: int) -> list[str]:
        ids = []
        for _ in range(jobs):
            time.sleep(random.choice([0.0, random.uniform(0.0, options["gap"])]))
            ids.append(queue.enqueue("step", {}).id)
        return ids

    async def one() -> list[str]:
        await asyncio.sleep(random.choice([0.0, random.uniform(0.0, options["gap"])]))
        return [(await queue.aio.enqueue("step", {})).id]

    with jobq.Queue(options["url"], router=router) as queue:
        while True:
            await asyncio.to_thread(orders.await_one)
            size = random.randint(1, options["largest"])
            if random.random() < 0.5:
                work = [one() for _ in range(size)]
            else:
                work = [asyncio.to_thread(at_random, size) for _ in range(random.randint(1, 3))]
            stored = await asyncio.gather(*work)
            history.note("enqueued", ids=[id for ids in stored for id in ids])


@role
def unclosed(options: Options, history: History, orders: Orders) -> None:
    """Uses a queue, closes nothing, and ends: with a NOTIFY still to come, if it enqueued."""
    hints.COALESCE = hints.TRAIL = 60.0
    if options["face"] == "Queue":
        queue = jobq.Queue(options["url"], router=router)
        for _ in range(options["jobs"]):
            history.note("enqueued", ids=[queue.enqueue("step", {}).id])
            orders.await_one()
        queue.counts()
    else:
        aqueue = jobq.AsyncQueue(options["url"], router=router)

        async def use() -> None:
            for _ in range(options["jobs"]):
                job = await aqueue.enqueue("step", {})
                history.note("enqueued", ids=[job.id])
                await asyncio.to_thread(orders.await_one)
            await aqueue.counts()

        asyncio.run(use())
    history.note("used")


@role
def forking(options: Options, history: History, orders: Orders) -> None:
    """Uses a queue in a parent and, at the same time, in a child that it forked."""
    queue = jobq.Queue(options["url"], router=router)
    history.note("enqueued", ids=[queue.enqueue("step", {}).id])
    busy = threading.Thread(target=_enqueue_some, args=(queue, history, options["jobs"]))
    busy.start()  # it may be anywhere in the queue's code when the process is forked
    child = os.fork()
    if child == 0:
        Orders()  # threads do not cross a fork
        record = History(Path(options["folder"]), f"{options['name']}-child")
        _enqueue_some(queue, record, options["jobs"])
        record.note("used")
        sys.exit(0)
    busy.join()
    _enqueue_some(queue, history, options["jobs"])
    _, status = os.waitpid(child, 0)
    history.note("child_ended", code=os.waitstatus_to_exitcode(status))
    _enqueue_some(queue, history, 2)
    history.note("used")


def _enqueue_some(queue: jobq.Queue, history: History, count: int) -> None:
    for _ in range(count):
        history.note("enqueued", ids=[queue.enqueue("step", {}).id])


@role
def canceller(options: Options, history: History, orders: Orders) -> None:
    """Cancels what it awaits, at random moments; goes on when it is ordered to."""
    asyncio.run(_cancel_at_random(options, history, orders))


async def _cancel_at_random(options: Options, history: History, orders: Orders) -> None:
    history.note("ready", pid=os.getpid())
    async with jobq.AsyncQueue(options["url"], router=router) as queue:
        job = await queue.enqueue("step", {}, delay=3600)
        awaited: list[tuple[str, Callable[[], Any]]] = [
            ("enqueue", lambda: queue.enqueue("noop", {})),
            ("enqueue_many", lambda: queue.enqueue_many([("noop", {})] * 300)),
            ("reschedule", lambda: queue.reschedule(job.id, delay=3600)),
            ("run_once", lambda: jobq.Worker(queue, lease=1.0).run_once(max_jobs=20)),
        ]
        while True:
            name, work = random.choice(awaited)
            task = asyncio.ensure_future(work())
            await asyncio.sleep(random.uniform(0.0, 0.02 if name == "run_once" else 0.004))
            hit = task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            history.note("cancelled", what=name, hit=hit and task.cancelled())
            await asyncio.to_thread(orders.await_one)


def main() -> None:
    name, options = sys.argv[1], json.loads(sys.argv[2])
    history = History(Path(options["folder"]), options["name"])
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    logging.getLogger("jobq").addHandler(Warnings(history))
    ROLES[name](options, history, Orders())


if __name__ == "__main__":
    main()
