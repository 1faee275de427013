"""The project's queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from asgiref.sync import sync_to_async
from django.utils.asyncio import async_unsafe

from jobq import _verbs as verbs
from jobq._handler import Handler, WithoutPayload
from jobq._model import Job
from jobq._queue import AsyncQueue, Queue
from jobq._queue.options import EnqueueOptions
from jobq._routing import Router

if TYPE_CHECKING:
    from jobq.contrib.django._config import DjangoConfig

P = TypeVar("P")
T = TypeVar("T")


class DjangoEnqueueOptions(EnqueueOptions, total=False):
    """The options of `enqueue`, and the alias of another database."""

    using: str


class DjangoQueue(Queue):
    """A queue in a database of the project, on Django's own connections.

    Inside `transaction.atomic()` every verb belongs to that transaction. Nothing is read from the
    settings before the first use. `queue.using("other")` is the queue in another database, and
    `queue.aio` the asynchronous face, on the connection that Django's asynchronous ORM uses.

    The options are those of `jobq.Queue`, and go before those of the setting `JOBQ`.

    >>> from jobq.contrib.django import queue
    >>> job = queue.enqueue("send_receipt", {"order": 7})
    >>> await queue.aenqueue("send_receipt", {"order": 8})  # doctest: +SKIP
    """

    def __init__(self, alias: str | None = None, **options: Any) -> None:
        self._alias = alias
        self._options = options
        self._aio = None
        self._opened = None
        self._opening = threading.Lock()
        self._others: dict[str, DjangoQueue] = {}
        self._outside: Any = None

    @cached_property
    def _config(self) -> DjangoConfig:  # type: ignore[override]
        from jobq.contrib.django._config import queue_config  # needs the settings

        return queue_config(self.alias, **self._options)

    def __repr__(self) -> str:
        return f"<DjangoQueue {self._alias or 'of the project'}>"

    @property
    def alias(self) -> str:
        """The database's name in DATABASES."""
        from jobq.contrib.django import _settings

        return self._alias or _settings.database()

    @property
    def router(self) -> Router:
        return self._config.router

    @property
    def aio(self) -> DjangoAsyncQueue:
        """The same queue for asynchronous code."""
        if self._aio is None:
            face = DjangoAsyncQueue._face_of(self._config)  # noqa: SLF001  each face makes the other
            face._sync, self._aio = self, face  # noqa: SLF001
        return self._aio  # type: ignore[return-value]

    def using(self, alias: str) -> DjangoQueue:
        """The queue in another database of the project."""
        if alias == self.alias:
            return self
        return self._others.setdefault(alias, DjangoQueue(alias, **self._options))

    @overload
    def enqueue(
        self,
        type: WithoutPayload[Any],
        payload: None = None,
        **options: Unpack[DjangoEnqueueOptions],
    ) -> Job: ...
    @overload
    def enqueue(
        self, type: Handler[P, Any], payload: P, **options: Unpack[DjangoEnqueueOptions]
    ) -> Job: ...
    @overload
    def enqueue(
        self, type: str, payload: Any = None, **options: Unpack[DjangoEnqueueOptions]
    ) -> Job: ...
    def enqueue(self, type: Any, payload: Any = None, **options: Any) -> Job:
        """Store a job on Django's connection; it commits or vanishes with its transaction.

        `using` is the alias of another database; the other options are those of `Queue.enqueue`.
        """
        alias = options.pop("using", None)
        queue = self if alias is None else self.using(alias)
        return super(DjangoQueue, queue).enqueue(type, payload, **options)

    @overload
    async def aenqueue(
        self,
        type: WithoutPayload[Any],
        payload: None = None,
        **options: Unpack[DjangoEnqueueOptions],
    ) -> Job: ...
    @overload
    async def aenqueue(
        self, type: Handler[P, Any], payload: P, **options: Unpack[DjangoEnqueueOptions]
    ) -> Job: ...
    @overload
    async def aenqueue(
        self, type: str, payload: Any = None, **options: Unpack[DjangoEnqueueOptions]
    ) -> Job: ...
    async def aenqueue(self, type: Any, payload: Any = None, **options: Any) -> Job:
        """`enqueue`, for asynchronous code."""
        return await sync_to_async(self.enqueue, thread_sensitive=True)(type, payload, **options)

    @async_unsafe(
        "A verb of jobq's queue was called in an event loop, where Django's connection cannot be "
        "used: await queue.aenqueue(…), or the other verbs of queue.aio."
    )
    def _do(self, verb: Callable[..., verbs.Verb[T]], *args: Any, **kwargs: Any) -> T:
        return super()._do(verb, *args, **kwargs)

    def forget(self) -> None:
        """Read the settings anew at the next use."""
        self.__dict__.pop("_config", None)
        self._aio = self._opened = None
        self._others.clear()

    def __enter__(self) -> Self:
        return self


class DjangoAsyncQueue(AsyncQueue):
    """The asynchronous face: a verb runs whole in the thread that has Django's connection."""

    async def _do(self, verb: Callable[..., verbs.Verb[T]], *args: Any, **kwargs: Any) -> T:
        if verb is verbs.wait:  # which rests in between
            return await super()._do(verb, *args, **kwargs)
        run = sync_to_async(self.sync._do, thread_sensitive=True)  # noqa: SLF001  the other face
        return await run(verb, *args, **kwargs)

    async def migrate(self) -> list[int]:
        return await sync_to_async(self.sync.migrate, thread_sensitive=True)()
