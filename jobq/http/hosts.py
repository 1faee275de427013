"""Who does an operation's steps: on a thread that may block, or in an event loop."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobq._errors import ConfigurationError
from jobq._model import Job
from jobq._queue import AsyncQueue, Queue
from jobq.http.drive import Report, drive, drive_here
from jobq.http.trigger import start
from jobq.http.watch import watcher_of

if TYPE_CHECKING:
    from jobq.http.budget import Budget
    from jobq.http.steps import Watch


class Passed(Exception):
    """Carries what a function of the app raised to whoever called the API."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class Host:
    """Does steps on a thread that may block. Frameworks may put their own ways in its place."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    def ask(self, verb: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return self.queue._do(verb, *args, **options)  # noqa: SLF001  the engine's verbs

    def consult(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            answer = function(*args)
        except Exception as error:
            raise Passed(error) from error
        if inspect.iscoroutine(answer):
            answer.close()
            name = getattr(function, "__qualname__", repr(function))
            raise ConfigurationError(f"{name} is asynchronous, and this server is not")
        return answer

    def watch(self, step: Watch) -> Job | None:
        watcher = watcher_of(self.queue._config)  # noqa: SLF001  one for the configuration
        return watcher.wait(step.job, step.seconds, until_finished=step.until_finished)

    def work(self, budget: Budget) -> Report:
        return drive_here(self.queue, budget)

    def trigger(self) -> None:
        start(self.queue)


class AsyncHost:
    """Does steps in an event loop. Frameworks may put their own ways in its place."""

    def __init__(self, queue: AsyncQueue) -> None:
        self.queue = queue

    async def ask(self, verb: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return await self.queue._do(verb, *args, **options)  # noqa: SLF001  the engine's verbs

    async def consult(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            answer = function(*args)
            return await answer if inspect.isawaitable(answer) else answer
        except Exception as error:
            raise Passed(error) from error

    async def watch(self, step: Watch) -> Job | None:
        watcher = watcher_of(self.queue._config)  # noqa: SLF001  one for the configuration
        return await watcher.wait_async(step.job, step.seconds, until_finished=step.until_finished)

    async def work(self, budget: Budget) -> Report:
        return await drive(self.queue, budget)

    def trigger(self) -> None:
        start(self.queue)
