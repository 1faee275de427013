"""Have this process run jobs on the side: for development, where no worker runs."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from typing import Any

from jobq._config import Config
from jobq._errors import JobqError, WaitTimeout
from jobq._model import Job, JobStatus
from jobq._queue import AsyncQueue, Queue
from jobq._worker.bounded import BoundedWorker
from jobq.http.debug import is_true
from jobq.observe import logger

LONGEST = 3600.0
Triggered = dict[str, Any]


class Runner:
    """At most one thread that runs a queue's jobs; asked again meanwhile, it goes round again."""

    def __init__(self, config: Config) -> None:
        self._config = weakref.ref(config)
        self._lock = threading.Lock()
        self._asked = False
        self._running = False

    def ask(self) -> None:
        with self._lock:
            self._asked = True
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="jobq trigger", daemon=True).start()

    def _goes_on(self) -> bool:
        with self._lock:
            self._running, self._asked = self._asked, False
            return self._running

    def _run(self) -> None:
        while self._goes_on():
            config = self._config()
            try:
                if config is not None:
                    asyncio.run(_work(config))
            except JobqError as error:
                logger.warning("jobs could not be run on the side: %s", error)
            except Exception:  # noqa: BLE001  nobody waits for it
                logger.exception("running jobs on the side failed")


async def _work(config: Config) -> None:
    face = AsyncQueue._face_of(config)  # noqa: SLF001  of the same configuration
    async with face:
        await BoundedWorker(face, seconds=LONGEST, label="triggered").work(None)


_runners: weakref.WeakKeyDictionary[Config, Runner] = weakref.WeakKeyDictionary()


def start(queue: Queue | AsyncQueue) -> None:
    """Have a thread run due jobs; one that runs already goes round again."""
    config = queue._config  # noqa: SLF001  one runner for the configuration
    if not config.router.types and not config.router.finds:
        logger.warning("no jobs are run on the side: this process has no handlers")
        return
    _runners.setdefault(config, Runner(config)).ask()


def trigger_worker(
    queue: Queue | AsyncQueue, wait_for_job_id: Any = None, timeout_ms: float = 120_000
) -> Triggered:
    """Run due jobs in a thread of this process; `{success, message, jobId, result}`.

    Without `wait_for_job_id` it returns at once. With it, it waits for that job to finish, up to
    `timeout_ms` milliseconds: `success` tells whether it completed. Calls share one thread.

    >>> trigger_worker(queue, wait_for_job_id=job.id)["result"]  # doctest: +SKIP
    """
    start(queue)
    if wait_for_job_id is None:
        return _answer(True, "triggered")
    try:
        face = queue.sync if isinstance(queue, AsyncQueue) else queue
        return _outcome(face.wait(wait_for_job_id, timeout_ms / 1000))
    except WaitTimeout as error:
        return _answer(False, "timeout", error.job_id)


async def atrigger_worker(
    queue: AsyncQueue,
    wait_for_job_id: Any = None,
    timeout_ms: float = 120_000,
) -> Triggered:
    """`trigger_worker`, for asynchronous code."""
    start(queue)
    if wait_for_job_id is None:
        return _answer(True, "triggered")
    try:
        return _outcome(await queue.wait(wait_for_job_id, timeout_ms / 1000))
    except WaitTimeout as error:
        return _answer(False, "timeout", error.job_id)


def _outcome(job: Job) -> Triggered:
    completed = job.status is JobStatus.COMPLETED
    message = "completed" if completed else f"{job.status.value}: {job.error or job.error_code}"
    return _answer(completed, message, job.id, job.result)


def _answer(
    success: bool, message: str, job_id: str | None = None, result: Any = None
) -> Triggered:
    return {"success": success, "message": message, "jobId": job_id, "result": result}


def triggers_itself(asked: bool | None, *, debug: bool) -> bool:
    """Whether a new job is to be run on the side: in development, but in no test unless asked."""
    if asked is None and os.environ.get("JOBQ_AUTO_TRIGGER"):
        asked = is_true(os.environ["JOBQ_AUTO_TRIGGER"])
    if asked is not None:
        return asked
    return debug and "PYTEST_CURRENT_TEST" not in os.environ
