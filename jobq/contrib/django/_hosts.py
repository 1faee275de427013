"""Who does the steps of the HTTP API in a Django project.

What belongs to a request is done on Django's connection. What lasts (running jobs, waiting for
news of them) is done on connections of jobq's own, and Django's is closed meanwhile. In a test's
transaction, which nobody else can see, that is not possible: there jobs are run on Django's
connection too, and nobody waits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import connections, transaction

from jobq._loops import in_event_loop
from jobq._model import Job
from jobq._queue import Queue
from jobq.contrib.django import DjangoQueue, _database
from jobq.contrib.django._worker import worker_queue
from jobq.http.drive import Report, drive
from jobq.http.hosts import AsyncHost, Host, Passed
from jobq.http.trigger import start

if TYPE_CHECKING:
    from jobq.http.budget import Budget
    from jobq.http.steps import Watch


class Outside:
    """The project's queue, on connections of jobq's own."""

    def __init__(self, queue: DjangoQueue) -> None:
        self._queue = queue
        self._made: tuple[object, Queue] | None = None

    @property
    def queue(self) -> Queue:
        """One for each state of the settings."""
        config = self._queue._config  # noqa: SLF001  the same house
        if self._made is None or self._made[0] is not config:
            self._made = config, worker_queue(self._queue)
        return self._made[1]

    @property
    def is_reachable(self) -> bool:
        """Whether other connections see what this one has written."""
        alias = self._queue.alias
        return not (connections[alias].in_atomic_block or _database.is_in_memory(alias))

    def leave_connection(self) -> bool:
        """Close Django's connection, if it can be; whether others see what it has written."""
        if not self.is_reachable:
            return False
        connections[self._queue.alias].close()
        return True

    def trigger(self) -> None:
        """Run jobs on the side once what was enqueued is there."""
        alias = self._queue.alias
        if in_event_loop():  # where no transaction can be open
            start(self.queue)
        elif not _database.is_in_memory(alias):
            transaction.on_commit(partial(start, self.queue), using=alias, robust=True)


def outside_of(queue: DjangoQueue) -> Outside:
    """The one of a queue: all who ask for its jobs to be run share a runner."""
    if queue._outside is None:  # noqa: SLF001  the same house
        queue._outside = Outside(queue)  # noqa: SLF001
    return queue._outside  # type: ignore[no-any-return]  # noqa: SLF001


class DjangoHost(Host):
    """On the thread of a WSGI request."""

    def __init__(self, queue: DjangoQueue, outside: Outside) -> None:
        super().__init__(queue)
        self._outside = outside

    def watch(self, step: Watch) -> Job | None:
        return Host(self._outside.queue).watch(step) if self._outside.leave_connection() else None

    def work(self, budget: Budget) -> Report:
        if self._outside.leave_connection():
            return Host(self._outside.queue).work(budget)
        return self.queue._config.run(drive(self.queue, budget))  # noqa: SLF001  Django's own way

    def trigger(self) -> None:
        self._outside.trigger()


class AsyncDjangoHost(AsyncHost):
    """In the event loop of an ASGI request."""

    def __init__(self, queue: DjangoQueue, outside: Outside) -> None:
        super().__init__(queue.aio)
        self._outside = outside

    async def consult(self, function: Callable[..., Any], *args: Any) -> Any:
        """Synchronous functions of the app may use the ORM."""
        try:
            if inspect.iscoroutinefunction(function):
                return await function(*args)
            answer = await sync_to_async(function, thread_sensitive=True)(*args)
            return await answer if inspect.isawaitable(answer) else answer
        except Exception as error:
            raise Passed(error) from error

    async def watch(self, step: Watch) -> Job | None:
        if not await sync_to_async(self._outside.leave_connection, thread_sensitive=True)():
            return None
        return await AsyncHost(self._outside.queue.aio).watch(step)

    async def work(self, budget: Budget) -> Report:
        if await sync_to_async(self._outside.leave_connection, thread_sensitive=True)():
            return await drive(self._outside.queue, budget)
        return await drive(self.queue, budget)

    def trigger(self) -> None:
        self._outside.trigger()
