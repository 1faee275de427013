"""The app whose limits are measured: `python -m tests.limits.app ROLE OPTIONS`.

As in `tests.faults.app`, a role is one process, its options are JSON, a line on its standard input
is an order and its end is the end of the process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jobq
from jobq._limits.declared import Single, from_spec, to_spec
from jobq._worker.slots import Slots
from tests.faults.history import History
from tests.faults.stage import Orders, Warnings
from tests.limits import provider as providers
from tests.limits.counting import Statements

Options = dict[str, Any]
Limits = Mapping[str, Iterable[Single]]
"""Limits by the type of job."""


class Notes(History):
    """A history that a killed process leaves behind, without waiting for the disk each time."""

    def note(self, event: str, **facts: Any) -> None:
        line = json.dumps({"event": event, "at": time.monotonic(), **facts}) + "\n"
        os.write(self._file, line.encode())


def to_options(limits: Limits) -> Options:
    """Limits as a process can be given them."""
    return {
        type: [{"key": one.key, **to_spec(one)} for one in some] for type, some in limits.items()
    }


def routed(handlers: Mapping[str, list[Options]]) -> jobq.Router:
    """A router whose types all do the same work, each within its limits."""
    router = jobq.Router()
    for type, specs in handlers.items():
        limits = [
            from_spec(spec["key"], {k: v for k, v in spec.items() if k != "key"}) for spec in specs
        ]
        function: Any = work_in_thread if type.endswith("_in_thread") else work
        router.handler(type, limits=limits, retry=jobq.Retry(max_attempts=20))(function)
    return router


# --- handlers -----------------------------------------------------------------------------------


class Refused(Exception):
    """What an HTTP library makes of a 429."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status_code = status
        self.headers = headers
        super().__init__(f"status {status}")


async def work(payload: dict, job: jobq.JobContext) -> None:
    """Say when it was entered, call the provider if there is one, take some time."""
    _entered(time.time_ns(), payload, job)
    if "url" in payload:
        await _fetch(payload["url"])
    await asyncio.sleep(payload.get("seconds", 0.0))


def work_in_thread(payload: dict, job: jobq.SyncJobContext) -> None:
    """The same with the standard library's client, whose exception is an answer too."""
    _entered(time.time_ns(), payload, job)
    if "url" in payload:
        urllib.request.urlopen(payload["url"], timeout=30).close()
    time.sleep(payload.get("seconds", 0.0))


def _entered(ns: int, payload: dict, job: Any) -> None:
    start = getattr(job._attempt, "start", None)
    permit = None if start is None else start.permit
    job.state.note(
        "start",
        job=job.id,
        type=job.type,
        attempt=job.attempt,
        ns=ns,
        units=payload.get("units", {}),
        granted=None if permit is None else permit.start,
    )


async def _fetch(url: str) -> None:
    """A GET over a connection of its own: no HTTP library is needed for that."""
    _, _, place, path = url.split("/", 3)
    host, port = place.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"GET /{path} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    finally:
        writer.close()
    first, *lines = head.strip().split("\r\n")
    status = int(first.split(" ")[1])
    if status != 200:
        raise Refused(status, dict(line.split(": ", 1) for line in lines))


# --- roles --------------------------------------------------------------------------------------

ROLES: dict[str, Callable[[Options, Notes, Orders], None]] = {}


def role(function: Callable[[Options, Notes, Orders], None]) -> Any:
    ROLES[function.__name__] = function
    return function


@role
def worker(options: Options, notes: Notes, orders: Orders) -> None:
    """Runs jobs until it is stopped. At each order it says what it has executed so far.

    `blocks`: (every, seconds) that its event loop stands still. `dies`: `kill -9` of itself between
    a claim of limited jobs and their start. `halts`: at each order it stops itself (SIGSTOP) after
    the next of these statements of a claim.
    """
    halting = Halting(options.get("halts", ()), notes)
    counts = Statements(halting.hook)
    counts.install()
    if options.get("dies"):
        die_after_claim(notes)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Notes]:
        notes.note("ready", worker=running.id, pid=os.getpid())
        blocking = asyncio.create_task(_block(*options.get("blocks", (0.0, 0.0))))
        yield notes
        blocking.cancel()

    def attend() -> None:
        while True:
            orders.await_one()
            halting.arm()
            notes.note("counted", **counts.facts())

    threading.Thread(target=attend, daemon=True).start()
    queue = jobq.Queue(options["url"], router=routed(options["handlers"]), lifespan=lifespan)
    names = ("concurrency", "threads", "lease", "grace", "queues")
    running = jobq.Worker(queue, **{name: options[name] for name in names if name in options})
    jobs = asyncio.run(running.run())
    notes.note("ended", jobs=jobs)


async def _block(every: float, seconds: float) -> None:
    """Blocks the event loop now and then, as nobody should."""
    while every:
        await asyncio.sleep(every * random.uniform(0.75, 1.25))
        time.sleep(seconds)  # noqa: ASYNC251  this is the fault


def die_after_claim(notes: Notes) -> None:
    """`kill -9` when limited jobs were claimed and none of them has begun."""

    def start(_: Slots, claimed: Any, starts: Any = None) -> None:
        notes.note("claimed", jobs=[job.id for job in claimed], limited=starts is not None)
        os.kill(os.getpid(), signal.SIGKILL)

    Slots.start = start  # type: ignore[method-assign]


class Halting:
    """Stops the process between two statements of a claim, each time it is armed."""

    def __init__(self, after: Iterable[int], notes: Notes) -> None:
        self._to_come = list(after)
        self._after: int | None = None
        self._notes = notes

    def arm(self) -> None:
        if self._to_come:
            self._after = self._to_come.pop(0)

    def hook(self, op: str, statement: int) -> None:
        if op == "claim_limited" and statement == self._after:
            self._after = None
            self._notes.note("halting", statement=statement, ns=time.time_ns())
            os.kill(os.getpid(), signal.SIGSTOP)
            self._notes.note("going_on", ns=time.time_ns())


@role
def web(options: Options, notes: Notes, orders: Orders) -> None:
    """Knows no handlers: enqueues jobs by name, one by one and in bulk, at a pace."""
    notes.note("ready", pid=os.getpid())
    units = options.get("units", {})
    with jobq.Queue(options["url"], router=jobq.Router()) as queue:
        until = time.monotonic() + options["seconds"]
        while time.monotonic() < until:
            many = random.choice([1, 1, 1, options["burst"]])
            payload = {"units": units, "seconds": 0.01}
            jobs = [queue.enqueue(options["type"], payload, cost=units).id]
            outcomes = queue.enqueue_many(
                (options["type"], payload, {"cost": units}) for _ in range(many - 1)
            )
            jobs += [outcome.job.id for outcome in outcomes if outcome.job is not None]
            notes.note("enqueued", ids=jobs)
            time.sleep(options["gap"] * many)
    notes.note("done")
    orders.await_one()


@role
def provider(options: Options, notes: Notes, orders: Orders) -> None:
    """A provider, see `tests.limits.provider`."""
    providers.run(options, notes.note)


def main() -> None:
    name, options = sys.argv[1], json.loads(sys.argv[2])
    notes = Notes(Path(options["folder"]), options["name"])
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    logging.getLogger("jobq").addHandler(Warnings(notes))
    ROLES[name](options, notes, Orders())


if __name__ == "__main__":
    main()
