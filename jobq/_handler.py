"""A handler, and how decorating a function as one is typed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Generic, Literal, Protocol, TypedDict, TypeVar, overload

from attrs import Factory, field, frozen

from jobq._context import JobContext, SyncJobContext
from jobq._limits import Limit
from jobq._owners import PerOwner
from jobq._payload import Codec
from jobq._retry import Retry
from jobq._spend import Budget

P = TypeVar("P")
R = TypeVar("R")

DEFAULT_TIMEOUT = 15 * 60.0

OnAmbiguous = Literal["retry", "fail", "verify"]
Verifier = Callable[..., Any]
Batch = Sequence[R | Exception] | None
"""What a batch handler returns: a result or an exception for each job."""
Middleware = Callable[[JobContext, Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""`async def middleware(job, call_next)`: calls `await call_next()`, and returns its result."""


@frozen(kw_only=True, eq=False)
class Handler(Generic[P, R]):
    """A function that runs the jobs of one type, with the defaults of their options.

    Calling it calls the function itself. `timeout` is in seconds, `None` is for ever; `keep` is
    how long finished jobs stay, in microseconds, `None` is the queue's default and 0 deletes a
    job when it completes.
    """

    type: str
    function: Callable[..., Any] = field(repr=False)
    codec: Codec = field(repr=False)
    takes: tuple[str, ...] = field(repr=False)
    """What the function's parameters are, in order: "payload", "context"."""
    is_async: bool
    batch: int | None = None
    """How many jobs one call takes at most, where it takes lists."""
    queue: str | None = None
    priority: int | None = None
    retry: Retry = Factory(Retry)
    timeout: float | None = DEFAULT_TIMEOUT
    keep: int | None = None
    limits: tuple[Limit, ...] = ()
    on_ambiguous: str | None = None
    verify: Callable[..., Any] | None = field(default=None, repr=False)
    budget: Budget | None = None
    per_owner: PerOwner | None = None
    webhook: str | None = None
    middleware: tuple[Middleware, ...] = field(default=(), repr=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def arguments(self, payload: Any, context: Any) -> list[Any]:
        """The function's arguments, in its own order."""
        given = {"payload": payload, "context": context}
        return [given[name] for name in self.takes]


WithoutPayload = Handler[None, R] | Handler[JobContext, R] | Handler[SyncJobContext, R]
"""How a handler is typed that takes no payload: by its context, if it takes that alone."""


class Decorator(Protocol):
    """What `handler(…)` returns: a decorator that keeps the payload's type."""

    @overload
    def __call__(self, function: Callable[[P, JobContext], Awaitable[R]]) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[[JobContext, P], Awaitable[R]]) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[[P], Awaitable[R]]) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[[], Awaitable[R]]) -> Handler[None, R]: ...
    @overload
    def __call__(self, function: Callable[[P, SyncJobContext], R]) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[[SyncJobContext, P], R]) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[[P], R]) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[[], R]) -> Handler[None, R]: ...


class BatchDecorator(Protocol):
    """What `handler(…, batch=n)` returns: for functions that take lists."""

    @overload
    def __call__(
        self, function: Callable[[list[P], list[JobContext]], Awaitable[Batch[R]]]
    ) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[[list[P]], Awaitable[Batch[R]]]) -> Handler[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[[list[P], list[SyncJobContext]], Batch[R]]
    ) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[[list[P]], Batch[R]]) -> Handler[P, R]: ...


class HandlerOptions(TypedDict, total=False):
    """The options of `handler`."""

    queue: str | None
    priority: int | str | None
    retry: Retry | None
    timeout: float | timedelta | None
    keep: float | timedelta | bool | None
    limits: Iterable[Limit] | None
    on_ambiguous: OnAmbiguous
    verify: Verifier | None
    budget: Budget | None
    per_owner: PerOwner | None
    webhook: str | None
