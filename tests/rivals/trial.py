"""One trial: a new database, a client, workers, and what their handlers noted."""

from __future__ import annotations

import itertools
import json
import select
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from jobq.testing._postgres import PostgresServer
from tests.faults import checker
from tests.faults.actors import ROOT, Actor, _environment
from tests.faults.history import Event, Histories
from tests.rivals.systems import System

T = TypeVar("T")
POLL = 0.02
DONE = ("completed", "failed", "cancelled")


class NotAcknowledged(Exception):
    """An enqueue or a look failed, or was not answered in time."""


class Process(Actor):
    """A process in the environment of a system."""

    def __init__(self, system: System, role: str, url: str, folder: Path, name: str) -> None:
        self.name = name
        self.stderr = folder / f"{name}.err"
        module = f"tests.rivals.adapters.{system.name}"
        with self.stderr.open("wb") as errors:
            self.process = subprocess.Popen(
                [system.python, "-m", module, role, url, str(folder), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if role == "client" else subprocess.DEVNULL,
                stderr=errors,
                cwd=ROOT,
                env=_environment(),
                start_new_session=True,
            )

    def ask(self, verb: str, *arguments: Any, timeout: float = 30.0) -> Any:
        """Have the client do something."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps([verb, arguments]).encode() + b"\n")
            stdin.flush()
        except OSError as error:
            raise NotAcknowledged(f"{error!r}: {self.errors()}") from None
        if not select.select([stdout], [], [], timeout)[0]:
            raise NotAcknowledged(f"{verb}: no answer within {timeout:g} s")
        line = stdout.readline()
        if not line:
            raise NotAcknowledged(self.errors())
        answer = json.loads(line)
        if "error" in answer:
            raise NotAcknowledged(answer["error"])
        return answer["value"]

    def end(self) -> None:
        super().end()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Trial:
    """A `with` block that ends what it started."""

    def __init__(
        self, system: System, folder: Path, number: int, server: PostgresServer | None
    ) -> None:
        self.system = system
        self.folder = folder
        self.number = number
        self.histories = Histories(folder)
        self.restarts = 0
        self._ends = ExitStack()
        self._names = itertools.count(1)
        self._server = server
        self.url = server.create_database("jobs") if server else f"sqlite:///{folder / 'jobs.db'}"

    def __enter__(self) -> Self:
        self.client = self.start("client")
        self.client.ask("migrate")
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    @property
    def server(self) -> PostgresServer:
        assert self._server is not None
        return self._server

    # --- processes -----------------------------------------------------------------------------

    def start(self, role: str, url: str | None = None) -> Process:
        name = f"{role}-{next(self._names)}"
        process = Process(self.system, role, url or self.url, self.folder, name)
        self._ends.callback(process.end)
        return process

    def victim_and_heir(self) -> tuple[Process, Process]:
        """Two workers at work; which of them was started first takes turns."""
        pair = self.ready(), self.ready()
        return pair if self.number % 2 else pair[::-1]

    def ready(self, url: str | None = None) -> Process:
        """A worker that has run a job."""
        worker = self.start("worker", url)
        tries = itertools.count(1)

        def by_it() -> bool:
            tag = f"ready {worker.name} {next(tries)}"
            self.client.ask("enqueue", {"tag": tag, "steps": 1})
            ended = self.until(lambda: self.noted("end", tag=tag), 3.0)
            return bool(ended and ended[-1].actor == worker.name)

        assert self.until(by_it, 60.0), f"{worker.name} runs no job: {worker.errors()}"
        return worker

    def enqueue_for(self, worker: Process, other: Process, tag: str, **payload: Any) -> Any:
        """Enqueue a job while the other worker is held still, until this one has started it."""
        self.freeze(other)
        try:
            id = self.client.ask("enqueue", {"tag": tag, **payload})
            assert self.until(lambda: self.noted("start", tag=tag, by=worker), 20.0), tag
        finally:
            other.thaw()
        return id

    def freeze(self, worker: Process) -> None:
        """Freeze a worker that does not hold SQLite's write lock: it would stop everybody."""
        for _ in range(100):
            worker.freeze()
            time.sleep(0.05)
            if self._server or not checker.is_locked(self.url):
                return
            worker.thaw()
            time.sleep(0.01)
        raise AssertionError(f"{worker.name} holds the write lock all the time")

    def supervise(self, workers: list[Process], url: str | None = None) -> None:
        """Start a worker where one has ended, as a supervisor does."""
        for index, worker in enumerate(workers):
            if not worker.alive:
                workers[index] = self.start("worker", url)
                self.restarts += 1

    # --- what happened -------------------------------------------------------------------------

    def noted(self, event: str, *, tag: str, by: Process | None = None) -> list[Event]:
        self.histories.refresh()
        return [
            one
            for one in self.histories.of(event)
            if one["tag"] == tag and (by is None or one.actor == by.name)
        ]

    def until(self, condition: Callable[[], T], timeout: float) -> T | None:
        """What the condition gave, or None when the time was over."""
        deadline = time.monotonic() + timeout
        while not (met := condition()):
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL)
        return met

    def state(self, id: Any) -> str:
        return str(self.client.ask("state", id))

    def until_done(self, id: Any, timeout: float) -> str:
        """The state of a job, when it is final or the time is over."""
        self.until(lambda: self.state(id) in DONE, timeout)
        return self.state(id)
