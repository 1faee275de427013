"""What the two faces of a queue share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import Factory, define, field, frozen

from jobq import backends
from jobq._checks import queue_name
from jobq._clock import Clock, SystemClock
from jobq._errors import BackendUnavailable, ConfigurationError, OptionError
from jobq._handler import Handler
from jobq._limits import Limit
from jobq._limits.declared import check_limits
from jobq._observed import AsyncObserved, Observed
from jobq._owners import Bound, PerOwner, QueueLimits, check_per_owner
from jobq._routing import Router, default_router, keep_span
from jobq._spend import Budget, check_budget
from jobq.observe import Observer, Observers

if TYPE_CHECKING:
    import asyncio

    from anyio import CapacityLimiter

    from jobq._deliveries import Courier, Webhooks
    from jobq.artifacts import Storage

Lifespan = Callable[[], AbstractAsyncContextManager[Any]]
T = TypeVar("T")
KEEP = timedelta(days=30)


@frozen(kw_only=True)
class Bounds:
    """How large a job's parts may be, in bytes of JSON or text."""

    payload: int = 1024 * 1024
    result: int = 1024 * 1024
    error: int = 16 * 1024
    metadata: int = 16 * 1024
    partial: int = 64 * 1024
    step: int = 256 * 1024

    def __attrs_post_init__(self) -> None:
        for name in ("payload", "result", "error", "metadata", "partial", "step"):
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise ConfigurationError(f"Bounds({name}={size!r}) must be a number of bytes")


@define(kw_only=True, eq=False, slots=False)
class Config:
    """One configuration; `Queue` and `AsyncQueue` are its faces."""

    url: str = field(repr=False)
    router: Router = Factory(lambda: default_router)
    strict_types: bool = False
    lifespan: Lifespan | None = None
    keep: int | None = None
    limits: QueueLimits = Factory(QueueLimits)
    """The limits of whole queues."""
    per_owner: PerOwner | None = None
    bounds: Bounds = Factory(Bounds)
    budget: Budget | None = None
    """That of handlers that have none of their own."""
    clock: Clock = Factory(SystemClock)
    observers: Observers = Factory(Observers)
    artifacts: Any = None
    """Where artifacts are kept, as it was given."""
    webhooks: Webhooks | None = field(default=None, repr=False)
    courier: Courier | None = field(default=None, init=False, repr=False)
    """Who tells them how jobs ended."""
    options: dict[str, Any] = field(factory=dict, repr=False)
    declared: set[str] = field(factory=set, repr=False)
    """The schedules that this process has stored: of different ones the latest hold."""

    def __attrs_post_init__(self) -> None:
        if self.webhooks is not None:
            from jobq._deliveries import route_deliveries

            self.router, self.courier = route_deliveries(self)

    def limits_of(self, handler: Handler[Any, Any], queue: str) -> tuple[Limit, ...]:
        """The limits of a handler's jobs in a queue."""
        return (*handler.limits, *self.limits.get(queue, ()))

    def bounds_of(self, type: str) -> tuple[Bound, ...]:
        """How many jobs of one owner may wait when another one of this type is enqueued."""
        handler = self.router.get(type)
        own = None if handler is None else handler.per_owner
        pairs = ((self.per_owner, None), (own, type))
        return tuple(Bound(one.queued, of) for one, of in pairs if one is not None and one.queued)

    @cached_property
    def backend(self) -> backends.Backend:
        """The database; its driver is imported at the first use."""
        return backends.connect(self.url, self.clock, **self.options)

    @cached_property
    def storage(self) -> Storage:
        """Where artifacts are kept; its library is imported at the first use."""
        from jobq.artifacts import storage_of

        return storage_of(self.artifacts)

    def store(self) -> backends.Store:
        """A store for synchronous callers, watched where there are observers."""
        return self._watched(self.backend.store())

    def async_store(self, within: float | None = None) -> backends.AsyncStore:
        """A store for this event loop, watched where there are observers.

        Nobody waits longer for an answer than `within`, in seconds: nor do the next two.
        """
        return self._watched_async(self.backend.async_store(within))

    def lease_store(self, within: float) -> backends.Store:
        """A store for the renewal of leases."""
        return self._watched(self.backend.lease_store(within))

    def outcome_store(self, within: float) -> backends.AsyncStore | None:
        """A store for outcomes, where these should not share the others' connections."""
        store = self.backend.outcome_store(within)
        return None if store is None else self._watched_async(store)

    async def in_thread(self, call: Callable[[], T], threads: CapacityLimiter) -> T:
        """Run what a `def` handler does, in one of the worker's threads."""
        from anyio import to_thread

        return await to_thread.run_sync(call, limiter=threads)

    def from_thread(self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
        """Do something in a worker's event loop, for a `def` handler in its thread."""
        import asyncio

        try:
            return asyncio.run_coroutine_threadsafe(work, loop).result()
        except RuntimeError as error:
            if not loop.is_closed():
                raise
            work.close()
            raise BackendUnavailable("the worker has ended without this thread") from error

    async def in_loop(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run what is asynchronous in an attempt: handlers, their verifiers, and middleware."""
        return await call()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, for a synchronous caller."""
        import asyncio

        return asyncio.run(work)

    def _watched(self, store: backends.Store) -> backends.Store:
        if not self.observers:
            return store
        return cast("backends.Store", Observed(store, self.observers))

    def _watched_async(self, store: backends.AsyncStore) -> backends.AsyncStore:
        if not self.observers:
            return store
        return cast("backends.AsyncStore", AsyncObserved(store, self.observers))


def _queue_limits(
    limits: Mapping[str, Iterable[Limit]] | None, per_owner: PerOwner | None
) -> QueueLimits:
    if limits is not None and not isinstance(limits, Mapping):
        raise ConfigurationError(f"Queue: limits must be {{queue: [limit, …]}}, not {limits!r}")
    try:
        by_queue = {
            queue_name(queue): check_limits(f"Queue: limits[{queue!r}]", some)
            for queue, some in (limits or {}).items()
        }
        owned = check_per_owner(per_owner)
        return QueueLimits(by_queue, () if owned is None else owned.places())
    except OptionError as error:
        raise ConfigurationError(f"Queue: {error}") from None


def _artifacts(given: Any) -> Any:
    """A wrong storage is told of where it is written; the environment is read when it is used."""
    if given is None:
        return None
    from jobq.artifacts import storage_of

    try:
        return storage_of(given)
    except OptionError as error:
        raise ConfigurationError(f"Queue: artifacts: {error}") from None


def configure(
    url: str,
    *,
    options: dict[str, Any],
    **given: Any,
) -> Config:
    """Check what a queue was given."""
    values = checked(**given)
    backends.parse(url, options)
    return Config(url=url, options=options, **values)


def checked(
    *,
    router: Router | None = None,
    strict_types: bool = False,
    lifespan: Lifespan | None = None,
    keep: float | timedelta | None = KEEP,
    limits: Mapping[str, Iterable[Limit]] | None = None,
    bounds: Bounds | None = None,
    budget: Budget | None = None,
    per_owner: PerOwner | None = None,
    clock: Clock | None = None,
    observers: Iterable[Observer] = (),
    artifacts: Any = None,
    webhooks: Webhooks | None = None,
) -> dict[str, Any]:
    """The fields of a `Config` that say nothing of its database."""
    try:
        retention = None if keep is None else keep_span(keep)
        check_budget(budget)
    except ValueError as error:
        raise ConfigurationError(f"Queue: {error}") from None
    if router is not None and not isinstance(router, Router):
        raise ConfigurationError(f"Queue: router must be a Router, not {router!r}")
    if bounds is not None and not isinstance(bounds, Bounds):
        raise ConfigurationError(f"Queue: bounds must be Bounds(…), not {bounds!r}")
    if lifespan is not None and not callable(lifespan):
        raise ConfigurationError(
            f"Queue: lifespan must be a function that returns an async context manager, "
            f"not {lifespan!r}"
        )
    return {
        "router": router if router is not None else default_router,
        "strict_types": strict_types,
        "lifespan": lifespan,
        "keep": retention,
        "limits": _queue_limits(limits, per_owner),
        "per_owner": per_owner,
        "bounds": bounds or Bounds(),
        "budget": budget,
        "clock": clock or SystemClock(),
        "observers": Observers(observers),
        "artifacts": _artifacts(artifacts),
        "webhooks": webhooks,
    }
