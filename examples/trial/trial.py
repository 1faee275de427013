"""One run of an example: its database, its provider, its processes, and its table of checks."""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import attrs
import sqlalchemy

import jobq
from examples.fakegemini import FakeGemini, Options
from examples.trial.databases import database
from examples.trial.processes import (
    ROOT,
    Process,
    Site,
    answers,
    broken_words,
    free_port,
    wait_until,
)
from examples.trial.table import Table

HEADROOM = 0.03
"""Of a shortened minute: some tenths of a second between a job's start and its request."""


class Trial:
    """Everything that an example needs, for as long as the block.

    `broken` names what the workers' jobq is to lack: `limits`, `fence`.
    """

    def __init__(self, broken: Collection[str] = (), *, postgres: bool = False) -> None:
        self.table = Table()
        self.broken = broken
        self.processes: list[Process] = []
        self._postgres = postgres
        self._open = ExitStack()
        self._env: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.folder = Path(self._open.enter_context(TemporaryDirectory(prefix="jobq-example-")))
        self.url = self._open.enter_context(database(self.folder, postgres=self._postgres))
        self.env(DATABASE_URL=self.url, PYTHONPATH=str(ROOT))
        self._open.callback(self._end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.table)
            self._show_logs()
        self._open.close()

    @cached_property
    def queue(self) -> jobq.Queue:
        """A queue of the trial's own, which knows no handlers."""
        return self._open.enter_context(jobq.Queue(self.url, router=jobq.Router()))

    @cached_property
    def engine(self) -> sqlalchemy.Engine:
        """For the example's own tables."""
        engine = sqlalchemy.create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"))
        self._open.callback(engine.dispose)
        return engine

    def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """What a statement finds."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sqlalchemy.text(sql), values)]

    def env(self, **more: str) -> None:
        """Environment variables of all processes that are started from now on."""
        self._env |= more

    def provider(self, options: Options) -> FakeGemini:
        """A provider that runs offline; processes find it at GEMINI_URL."""
        gemini = self._open.enter_context(FakeGemini(options))
        self.env(GEMINI_URL=gemini.url)
        return gemini

    def start(self, module: str, *arguments: str, **env: str) -> Process:
        """Run `python -m module arguments`."""
        log = self.folder / f"{len(self.processes)}-{module}.log"
        usual = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        words = [*broken_words(self.broken, module), *arguments]
        process = Process(words, usual | self._env | env, log)
        self.processes.append(process)
        return process

    def run(self, module: str, *arguments: str, **env: str) -> str:
        """Run `python -m module arguments` to its end, and return what it has printed.

        Raises:
            RuntimeError: its exit code is not 0.
        """
        process = self.start(module, *arguments, **env)
        code, said = process.wait(), process.log.read_text()
        if code:
            raise RuntimeError(f"{module} {' '.join(arguments)} ended with {code}:\n{said}")
        return said

    def worker(self, app: str, *arguments: str, **env: str) -> Process:
        """Start `jobq worker`, and wait until it is alive."""
        known = {worker.id for worker in self.alive()}
        process = self.start("jobq", "worker", app, *arguments, **env)
        wait_until(lambda: {worker.id for worker in self.alive()} - known)
        return process

    def freeze(self, process: Process) -> None:
        """Let a process do nothing until it thaws: a long pause of its machine.

        Never while it writes to a SQLite file: nobody else could write until then.
        """
        if not self.url.startswith("sqlite"):
            process.freeze()
            return
        with closing(sqlite3.connect(self.folder / "jobs.db", timeout=30)) as ours:
            ours.execute("BEGIN IMMEDIATE")
            process.freeze()

    def alive(self) -> list[jobq.WorkerInfo]:
        """The workers that are."""
        return [worker for worker in self.queue.workers() if worker.alive]

    def serve(self, app: str, **env: str) -> Site:
        """Serve an ASGI app by uvicorn on a free port, and wait until it answers."""
        port = str(free_port())
        process = self.start("uvicorn", app, "--port", port, "--log-level", "warning", **env)
        return self.site(process, f"http://127.0.0.1:{port}")

    def site(self, process: Process, url: str) -> Site:
        """A client of a server that was started, as soon as it answers."""
        wait_until(lambda: answers(url))
        site = Site(process, url)
        self._open.callback(site.http.close)
        return site

    def hurry(self, speed: float) -> None:
        """Make the minute of all rate limits that workers have declared so much shorter.

        As an operator would: `jobq limits set KEY --per SECONDS`. The headroom grows, as a
        request does not reach the provider any sooner.
        """
        for info in self.queue.limits():
            if isinstance(info.limit, jobq.RateLimit) and not info.overridden:
                per = info.limit.per / speed
                self.queue.set_limit(attrs.evolve(info.limit, per=per, headroom=HEADROOM))

    def until_done(self, jobs: Collection[str], seconds: float = 60.0) -> float:
        """Wait until these jobs have finished; the seconds that it took."""
        began = time.monotonic()
        rest = list(jobs)
        while rest:
            finished = {job.id for job in self.queue.get_many(rest) if job.status.finished}
            rest = [id for id in rest if id not in finished]
            if time.monotonic() - began > seconds:
                break  # the table will tell
            time.sleep(0.1)
        return time.monotonic() - began

    def statuses(self, jobs: Collection[str]) -> dict[str, int]:
        """How many of these jobs are in each status."""
        found = [job.status.value for job in self.queue.get_many(jobs)]
        return {status: found.count(status) for status in sorted(set(found))}

    def since_end(self, job: str, at: float) -> float:
        """The seconds from a job's end until `at`, seconds since 1970; for ever if it has none."""
        ended = self.queue.get(job).completed_at
        return math.inf if ended is None else at - ended.timestamp()

    def _end(self) -> None:
        for process in self.processes:
            process.kill()

    def _show_logs(self) -> None:
        for process in self.processes:
            lines = process.log.read_text().splitlines()[-15:]
            print(f"--- {process.log.name}", *lines, sep="\n")


@contextmanager
def letting_go(gemini: FakeGemini) -> Iterator[None]:
    """For as long as the block, what is `held` is answered soon."""
    ended = Event()

    def release() -> None:
        while not ended.wait(0.1):
            gemini.release()

    thread = Thread(target=release)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def under_way(gemini: FakeGemini) -> int:
    """How many requests it has not answered yet."""
    return sum(entry.outcome == "working" for entry in gemini.ledger.entries)


Check = Callable[[Trial], None]
