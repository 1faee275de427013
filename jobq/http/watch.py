"""One look at the database for all who wait: long polls and event streams share a poller."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define

from jobq import backends
from jobq._config import Config
from jobq._errors import BackendUnavailable, JobNotFound, JobqError
from jobq._model import Job
from jobq.observe import logger

INTERVAL = 0.25
"""Seconds between two looks, while anybody waits."""

Answer = Job | Exception


@define(eq=False)
class Waiter:
    """Somebody who waits for news of a job."""

    job_id: str
    version: int
    until_finished: bool
    tell: Callable[[Answer], None]

    def accepts(self, job: Job) -> bool:
        """Whether this is the news that it waits for."""
        news, self.version = job.version != self.version, job.version
        return news and (job.status.finished or not self.until_finished)


class Watcher:
    """Looks at every watched job with one query, in a thread that lives while anybody waits."""

    def __init__(self, config: Config) -> None:
        self._config = weakref.ref(config)
        self._lock = threading.Lock()
        self._waiters: set[Waiter] = set()
        self._process = os.getpid()
        self._looking = False
        self.failing: Exception | None = None
        """Why the last look failed, if it did."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def add(self, waiter: Waiter) -> None:
        with self._lock:
            if self._process != os.getpid():  # the thread stayed in the parent
                self._process, self._looking = os.getpid(), False
                self._waiters = set()
            self._waiters.add(waiter)
            if not self._looking:
                self._looking, self.failing = True, None
                threading.Thread(target=self._run, name="jobq watcher", daemon=True).start()

    def remove(self, waiter: Waiter) -> None:
        with self._lock:
            self._waiters.discard(waiter)

    def wait(self, job: Job, seconds: float, *, until_finished: bool) -> Job | None:
        """Block until there is news; `None` when time is up. Raises what keeps it from looking."""
        answers: list[Answer] = []
        told = threading.Event()

        def tell(answer: Answer) -> None:
            answers.append(answer)
            told.set()

        waiter = Waiter(job.id, job.version, until_finished, tell)
        self.add(waiter)
        try:
            told.wait(seconds)
        finally:
            self.remove(waiter)
        return self._outcome(answers[0] if answers else None)

    async def wait_async(self, job: Job, seconds: float, *, until_finished: bool) -> Job | None:
        """`wait`, without blocking."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Answer] = loop.create_future()

        def settle(answer: Answer) -> None:
            if not told.done():
                told.set_result(answer)

        def tell(answer: Answer) -> None:
            with suppress(RuntimeError):  # the loop is closed already
                loop.call_soon_threadsafe(settle, answer)

        waiter = Waiter(job.id, job.version, until_finished, tell)
        self.add(waiter)
        try:
            done, _ = await asyncio.wait([told], timeout=seconds)
        finally:
            self.remove(waiter)
        return self._outcome(told.result() if done else None)

    def _outcome(self, answer: Answer | None) -> Job | None:
        if answer is None and self.failing is not None:
            raise self.failing
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _run(self) -> None:
        """Look until nobody waits any more."""
        pause = threading.Event()
        store: Any = None
        try:
            while self._goes_on():
                try:
                    store = store or self._open()
                    self._look(store)
                    self.failing = None
                except JobqError as error:
                    self.failing = error
                pause.wait(INTERVAL)
        except Exception as error:  # noqa: BLE001  those who wait are told
            logger.exception("the watcher of jobs failed")
            self._give_up(error)
        finally:
            if store is not None:
                store.close()

    def _open(self) -> backends.Store:
        config = self._config()
        assert config is not None  # whoever waits has the queue
        return config.store()

    def _goes_on(self) -> bool:
        with self._lock:
            self._looking = bool(self._waiters)
            return self._looking

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            waiters, self._waiters, self._looking = self._waiters, set(), False
        for waiter in waiters:
            waiter.tell(BackendUnavailable(f"the watcher of jobs failed: {error}"))

    def _look(self, store: Any) -> None:
        """Tell everybody who has news: a query for all, and one more for what has changed."""
        with self._lock:
            waiters = tuple(self._waiters)
        versions = store.run(backends.ops.versions, sorted({w.job_id for w in waiters}))
        stale = [w for w in waiters if versions.get(w.job_id) != w.version]
        if not stale:
            return
        jobs = {
            job.id: job
            for job in store.run(backends.ops.get_many, sorted({w.job_id for w in stale}))
        }
        for waiter in stale:
            job = jobs.get(waiter.job_id)
            if job is None:
                self._settle(waiter, JobNotFound(waiter.job_id))
            elif waiter.accepts(job):
                self._settle(waiter, job)

    def _settle(self, waiter: Waiter, answer: Answer) -> None:
        self.remove(waiter)
        waiter.tell(answer)


_watchers: weakref.WeakKeyDictionary[Config, Watcher] = weakref.WeakKeyDictionary()


def watcher_of(config: Config) -> Watcher:
    """The one watcher of a queue in this process."""
    return _watchers.setdefault(config, Watcher(config))
