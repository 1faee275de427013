"""More of the app that faults are tried on: handlers that do harm, processes that get it done.

`python -m tests.faults.victims ROLE OPTIONS` knows the roles of `tests.faults.app` as well.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import random
import resource
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypedDict

from sqlalchemy import Column, Text

import jobq
from jobq import backends
from jobq._worker import finisher
from jobq.backends import _migrations
from jobq.backends import _tables as tables
from jobq.backends.sqlite import writer
from tests.faults import app
from tests.faults.actors import Actor
from tests.faults.app import Options, connect, is_sqlite, role, router
from tests.faults.history import History
from tests.faults.stage import Orders, Recorder, Stage


class Victim(Actor):
    """A process of this app."""

    app = "tests.faults.victims"


# --- handlers -----------------------------------------------------------------------------------


@router.handler("poison")
async def poison(payload: dict[str, Any], job: jobq.JobContext) -> int:
    """Takes its process with it, in one way or the other."""
    job.state.note("start", job=job.id, attempt=job.attempt, type=job.type)
    return _do_harm(payload)


@router.handler("poisons", batch=50)
async def poisons(payloads: list[dict[str, Any]]) -> list[int]:
    """One call for many, of which some take their process with them."""
    return [_do_harm(payload) for payload in payloads]


def _do_harm(payload: dict[str, Any]) -> int:
    match payload.get("how"):
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "kill":  # what the kernel does when memory runs out
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            return len(bytearray(payload["bytes"]))
    return 0


@router.handler("needy", retry=jobq.Retry(max_attempts=20, backoff=jobq.Fixed(0.5)))
async def needy(payload: dict[str, Any], job: jobq.JobContext) -> int:
    """Needs a descriptor and so much memory, and tries again where there is none."""
    job.state.note("start", job=job.id, attempt=job.attempt)
    os.close(os.open(os.devnull, os.O_RDONLY))
    return len(bytearray(payload["bytes"]))


class Point(TypedDict):
    x: int


@router.handler("typed")
async def typed(payload: Point, job: jobq.JobContext) -> int:
    job.state.note("start", job=job.id, attempt=job.attempt)
    return payload["x"]


@router.handler("large")
async def large(payload: dict[str, Any], job: jobq.JobContext) -> Any:
    """A result of so many bytes, nested so deeply."""
    job.state.note("start", job=job.id, attempt=job.attempt)
    result: Any = "x" * payload.get("bytes", 0)
    for _ in range(payload.get("depth", 0)):
        result = [result]
    return result


@router.handler("stubborn")
async def stubborn(payload: dict[str, Any], job: jobq.JobContext) -> None:
    """Ignores every cancellation, for ever."""
    job.state.note("start", job=job.id, attempt=job.attempt)
    if job.attempt > payload.get("attempts", 1):
        return
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


@router.handler("stubborn_in_thread")
def stubborn_in_thread(payload: dict[str, Any], job: jobq.SyncJobContext) -> None:
    """Never looks whether it should stop."""
    job.state.note("start", job=job.id, attempt=job.attempt)
    if job.attempt > payload.get("attempts", 1):
        return
    threading.Event().wait()


@router.handler("hold_interpreter")
async def hold_interpreter(payload: dict[str, Any], job: jobq.JobContext) -> str:
    """Keeps the interpreter's lock for some seconds: no thread of the process can run."""
    job.state.note("start", job=job.id, attempt=job.attempt)
    if job.attempt == 1:
        ctypes.PyDLL(None).usleep(int(payload["seconds"] * 1_000_000))
    job.state.note("end", job=job.id)
    return str(job.state.name)


@router.handler("puts_off")
async def puts_off(payload: dict[str, Any], job: jobq.JobContext) -> str:
    """Gives its attempt back at first; then it works."""
    job.state.note("start", job=job.id, attempt=job.attempt)
    if job.state.name.startswith("doubling"):
        raise jobq.Snooze(0) if payload["how"] == "snooze" else jobq.RateLimited(0.1)
    await asyncio.sleep(payload["seconds"])
    job.state.note("end", job=job.id)
    return str(job.state.name)


def _patience(payload: dict[str, Any], name: str) -> float:
    """How long this worker is to work: `{"zombie": 600}` is for those called so."""
    return sum(float(seconds) for who, seconds in payload.items() if name.startswith(who))


@router.handler("tarry")
async def tarry(payload: dict[str, Any], job: jobq.JobContext) -> str:
    job.state.note("start", job=job.id, attempt=job.attempt)
    try:
        await asyncio.sleep(_patience(payload, job.state.name))
    except asyncio.CancelledError:
        job.state.note("told", job=job.id)
        raise
    return str(job.state.name)


@router.handler("tarry_in_thread")
def tarry_in_thread(payload: dict[str, Any], job: jobq.SyncJobContext) -> str:
    job.state.note("start", job=job.id, attempt=job.attempt)
    time.sleep(_patience(payload, job.state.name))
    return str(job.state.name)


@router.handler("metered", limits=[jobq.RateLimit("metered", 20, per=2)])
async def metered(payload: dict[str, Any], job: jobq.JobContext) -> None:
    job.state.note("start", job=job.id, attempt=job.attempt, ns=time.time_ns())


@router.handler("single", limits=[jobq.Concurrency("single", 1)])
async def single(payload: dict[str, Any], job: jobq.JobContext) -> str:
    job.state.note("start", job=job.id, attempt=job.attempt)
    await asyncio.sleep(payload.get("seconds", 0.0) if job.attempt == 1 else 0.0)
    job.state.note("end", job=job.id)
    return str(job.state.name)


# --- roles --------------------------------------------------------------------------------------


@role
def victim(options: Options, history: History, orders: Orders) -> None:
    """A worker under limits of its process, or one that dies or doubles at a certain point."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, value in options.get("limits", {}).items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    match options.get("failpoint"):
        case "flush":
            _die_at_flush(history)
        case "double":
            _write_twice(history, orders)
    app.ROLES["worker"](options, history, orders)


def _die_at_flush(history: History) -> None:
    """Die when handlers have succeeded and nothing of it is written."""

    async def flush(self: finisher.Finisher) -> None:
        history.note("dying", jobs=[running.job.id for running, _ in self._waiting])
        os.kill(os.getpid(), signal.SIGKILL)

    finisher.Finisher.flush = flush  # type: ignore[method-assign]


def _write_twice(history: History, orders: Orders) -> None:
    """Write each outcome, and when it is ordered to once more, as if no answer had come."""
    write = finisher.Finisher._write

    async def twice(self: Any, endings: list[Any], wanted: Any = None) -> Any:
        answer = await write(self, endings, None)
        history.note("written", jobs=[ending.id for ending in endings])
        await asyncio.to_thread(orders.released.wait)
        for again in (False, True):
            op = backends.ops.finish
            await self._store.run(op, endings, keep=None, **({"again": True} if again else {}))
        history.note("written_again", jobs=[ending.id for ending in endings])
        return answer

    finisher.Finisher._write = twice  # type: ignore[method-assign]


@role
def ticking(options: Options, history: History, orders: Orders) -> None:
    """A worker whose code has schedules of the type `step`."""
    for name, schedule in options["schedules"].items():
        router.cron(**schedule, name=name)(app.step)
    app.ROLES["worker"](options, history, orders)


@role
def function(options: Options, history: History, orders: Orders) -> None:
    """One call of a function that a platform runs: what is due, for so many seconds."""
    began = time.monotonic()
    state = Stage(history, options["url"], orders)

    async def call() -> int:
        queue = jobq.Queue(options["url"], router=router, observers=[Recorder(history)])
        names = ("concurrency", "lease", "grace", "margin")
        worker = jobq.Worker(queue, **{name: options[name] for name in names if name in options})
        worker._state = state
        history.note("ready", worker=worker.id, pid=os.getpid(), began=began)
        return await worker.run_once(max_seconds=options["seconds"])

    history.note("ended", jobs=asyncio.run(call()))


@role
def holder(options: Options, history: History, orders: Orders) -> None:
    """Runs statements of its own, holds what they lock until it is ordered to end."""
    with closing(connect(options["url"])) as connection:
        for statement in options["begin"]:
            connection.execute(statement)
        history.note("holding")
        orders.await_one()
        connection.execute(options.get("end", "ROLLBACK"))
    history.note("let_go")


@role
def racer(options: Options, history: History, orders: Orders) -> None:
    """Enqueues the same unique keys as others do, alone and in transactions that roll back."""
    history.note("ready", pid=os.getpid())
    with jobq.Queue(options["url"], router=router) as queue:
        orders.released.wait()
        threads = [
            threading.Thread(target=_race, args=(queue, options, history))
            for _ in range(options["threads"])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    history.note("raced")


def _race(queue: jobq.Queue, options: Options, history: History) -> None:
    with closing(connect(options["url"])) as connection:
        for key in options["keys"]:
            if random.random() < 0.7:
                job = queue.enqueue("step", {}, unique_key=key)
                history.note("kept", key=key, job=job.id, created=job.created)
                continue
            connection.execute("BEGIN IMMEDIATE" if is_sqlite(options["url"]) else "BEGIN")
            job = queue.enqueue("step", {}, unique_key=key, connection=connection)
            time.sleep(random.uniform(0.0, 0.01))
            commits = random.random() < 0.3
            connection.execute("COMMIT" if commits else "ROLLBACK")
            event = "kept" if commits or not job.created else "undone"
            history.note(event, key=key, job=job.id, created=job.created)


@role
def migrator(options: Options, history: History, orders: Orders) -> None:
    """Migrates, slowly; with `future` also to a schema that this version does not know yet."""
    if options.get("future"):
        tables.SCHEMA_VERSION = 2
        writer.SCHEMA_VERSION = 2  # type: ignore[attr-defined]
        tables.job.append_column(Column("of_the_future", Text(), info={"since": 2}))
    statements = _migrations.statements

    def slowly(*args: Any) -> Any:
        for number, line in enumerate(statements(*args)):
            history.note("statement", number=number)
            time.sleep(options.get("pause", 0.0))
            yield line

    _migrations.statements = slowly  # type: ignore[assignment]
    history.note("ready", pid=os.getpid())
    with jobq.Queue(options["url"], router=router) as queue:
        try:
            history.note("migrated", steps=queue.migrate())
        except jobq.JobqError as error:
            history.note("refused", error=str(error))
            sys.exit(3)


@role
def hammer(options: Options, history: History, orders: Orders) -> None:
    """Forks children that write as fast as they can, and kills each at a random moment."""
    history.note("ready", pid=os.getpid())
    for number in range(options["kills"]):
        child = os.fork()
        if child == 0:
            _hammer(options, History(Path(options["folder"]), f"hammered-{number}"))
        time.sleep(random.uniform(0.0, options["longest"]))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        path = options["url"].removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as connection:
            [(found,)] = connection.execute("PRAGMA integrity_check").fetchall()
        history.note("killed", found=found)


def _hammer(options: Options, history: History) -> None:
    """Enqueue one, then some, run them, over and over."""
    with jobq.Queue(options["url"], router=router) as queue:
        while True:
            history.note("enqueued", ids=[queue.enqueue("noop", {}).id])
            outcomes = queue.enqueue_many([("noop", {"x": "x" * 2000})] * 20)
            ids = [outcome.job.id for outcome in outcomes if outcome.job is not None]
            history.note("enqueued", ids=ids)
            asyncio.run(jobq.Worker(queue, lease=1.0).run_once(max_jobs=10))


@role
def spawning(options: Options, history: History, orders: Orders) -> None:
    """Uses a queue in threads, and in children that are spawned while it does."""
    with jobq.Queue(options["url"], router=router) as queue:
        history.note("enqueued", ids=[queue.enqueue("step", {}).id])
        context = multiprocessing.get_context(options["method"])
        args = (options, f"{options['name']}-child")
        children: Any = [context.Process(target=_spawned, args=args)]
        threads = [
            threading.Thread(target=app._enqueue_some, args=(queue, history, options["jobs"]))
            for _ in range(2)
        ]
        for one in (*threads, *children):
            one.start()
        for one in (*threads, *children):
            one.join()
        app._enqueue_some(queue, history, options["jobs"])
    history.note("children", codes=[child.exitcode for child in children])


def _spawned(options: Options, name: str) -> None:
    history = History(Path(options["folder"]), name)
    with jobq.Queue(options["url"], router=router) as queue:
        app._enqueue_some(queue, history, options["jobs"])


if __name__ == "__main__":
    app.main()
