"""Handlers by name, and the middleware around them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from datetime import timedelta
from typing import Any, TypeVar, Unpack, overload

from jobq import _cron, _signature
from jobq._checks import is_storable, priority_number, short_text
from jobq._clock import to_span
from jobq._cron import CatchUp, Schedule
from jobq._errors import ConfigurationError, HandlerError, OptionError, PayloadError
from jobq._handler import (
    DEFAULT_TIMEOUT,
    BatchDecorator,
    Decorator,
    Handler,
    HandlerOptions,
    Middleware,
    OnAmbiguous,
    Verifier,
)
from jobq._limits import Limit
from jobq._limits.declared import check_limits
from jobq._owners import PerOwner, check_per_owner
from jobq._payload import Codec
from jobq._retry import Retry
from jobq._spend import Budget, check_budget

P = TypeVar("P")
R = TypeVar("R")

LARGEST_BATCH = 1000
OWN = "jobq."
"""How the types of jobq's own jobs begin."""
DELIVERY = f"{OWN}webhook"
"""The type of jobs that deliver a message about another one."""


class Router:
    """The handlers of an application, or of a part of it.

    >>> images = Router()
    >>> @images.handler("image_edit", retry=Retry(max_attempts=5))
    ... async def image_edit(payload: dict, job: JobContext) -> dict: ...
    """

    finds = False
    """Whether `find` may know types that have no handler yet."""

    def __init__(self) -> None:
        self._handlers: MutableMapping[str, Handler[Any, Any]] = {}
        self._middleware: list[Middleware] = []
        self._schedules: dict[str, Schedule] = {}

    @overload
    def handler(self, type: str, **options: Unpack[HandlerOptions]) -> Decorator: ...
    @overload
    def handler(
        self, type: str, *, batch: int, **options: Unpack[HandlerOptions]
    ) -> BatchDecorator: ...
    def handler(
        self,
        type: str,
        *,
        batch: int | None = None,
        queue: str | None = None,
        priority: int | str | None = None,
        retry: Retry | None = None,
        timeout: float | timedelta | None = DEFAULT_TIMEOUT,
        keep: float | timedelta | bool | None = None,
        limits: Iterable[Limit] | None = None,
        on_ambiguous: OnAmbiguous = "retry",
        verify: Verifier | None = None,
        budget: Budget | None = None,
        per_owner: PerOwner | None = None,
        webhook: str | None = None,
    ) -> Any:
        """Register a function as the handler of a type of jobs.

        The function takes the payload and the job's context, either only if its signature has
        them: `async def` a `JobContext`, `def` (run in a thread) a `SyncJobContext`. The payload's
        annotation is its schema. The options are defaults for those of `enqueue`: `timeout` in
        seconds, `keep` how long a finished job stays (seconds, a timedelta, or `False` to delete
        it when it completes).

        `limits` hold over all workers: a job that they do not allow to start is not claimed.
        `on_ambiguous` says what follows an attempt that may have done its paid work without
        anybody knowing (a read time-out, a crash): "retry", "fail", or "verify". Then `verify`,
        an `async def` or `def` with the parameters of the handler, is called before the next
        attempt: what it returns is the job's result, and `None` lets the handler run.

        `budget` ends a job, code `budget_exceeded`, that would spend more money than that.
        `per_owner` says how many jobs of this type each owner may have, waiting and running.
        `webhook` names the endpoint, of those in `Queue(webhooks=…)`, that is told how jobs end.

        With `batch`, one call takes up to so many jobs, in one slot, for APIs that work in bulk:
        the function gets a list of payloads, and a list of contexts if it has a second parameter.
        It returns a list with a result for each, in the same order; an exception in it is what
        that job raised. What the function raises counts for all of them.

        Raises `HandlerError` where the function cannot be a handler as it is written.

        >>> @images.handler("embed", batch=100)
        ... async def embed(texts: list[str]) -> list[list[float]]: ...
        """
        if not isinstance(type, str) or not 1 <= len(type) <= 200 or not is_storable(type):
            raise ConfigurationError(
                f"a handler's type is a name of 1 to 200 letters, not {type!r:.250}"
            )
        if type.startswith(OWN):
            raise ConfigurationError(f"handler {type!r}: types that begin with {OWN!r} are jobq's")
        try:
            options: dict[str, Any] = {
                "batch": _batch(batch, verify),
                "queue": short_text(queue, "queue", limit=100),
                "priority": None if priority is None else priority_number(priority),
                "retry": _retry(retry),
                "timeout": timeout_seconds(timeout),
                "keep": keep_span(keep),
                "limits": check_limits(f"handler {type!r}", limits) + _places(type, per_owner),
                "budget": check_budget(budget),
                "per_owner": check_per_owner(per_owner),
                **_ambiguity(type, on_ambiguous, verify),
                "webhook": _webhook(webhook, keep),
            }
        except OptionError as error:
            raise ConfigurationError(f"handler {type!r}: {error}") from None

        def decorate(function: Callable[..., Any]) -> Handler[Any, Any]:
            return self._register(_build(type, function, options))

        return decorate

    def cron(
        self,
        expression: str,
        *,
        tz: str = "UTC",
        name: str | None = None,
        payload: Any = None,
        catch_up: CatchUp = "one",
        overlap: bool = True,
        queue: str | None = None,
        priority: int | str | None = None,
        owner: str | None = None,
    ) -> Callable[[Handler[P, R]], Handler[P, R]]:
        """Enqueue a job of a handler at each tick of a cron expression; stands above `@handler`.

        Any worker whose code has the schedule may notice a tick; each tick becomes one job, however
        many workers there are. The job's metadata has the `schedule` and its `tick`.

        - `expression`: minute, hour, day of month, month, day of week; a second may come before.
        - `tz`: the time zone whose clocks it is about, as in "Europe/Berlin".
        - `name`: the schedule's, by default the type. It has to be unique and to stay: what is
          known of the last tick is known by it.
        - `payload`: of its jobs, checked now. `queue`, `priority` and `owner` as in `enqueue`.
        - `catch_up`: what follows ticks that no worker was there for. "one" makes one job for the
          newest of them, "all" one for each of the newest thousand, and "skip" none, if the newest
          was more than a minute ago.
        - `overlap`: `False` passes over a tick while the job of an earlier one is unfinished.

        Raises `ConfigurationError` where one of these cannot be used.

        >>> @images.cron("0 3 * * *", tz="Europe/Berlin", catch_up="skip")
        ... @images.handler("thumbnails")
        ... async def thumbnails() -> None: ...
        """

        def decorate(handler: Handler[P, R]) -> Handler[P, R]:
            schedule = _cron.declared(
                type=self._own(handler).type,
                name=name,
                expression=expression,
                tz=tz,
                catch_up=catch_up,
                overlap=overlap,
                payload=_payload_of(handler, payload),
                queue=queue,
                priority=priority,
                owner=owner,
            )
            self._add(schedule)
            return handler

        return decorate

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The declared schedules."""
        return tuple(self._schedules.values())

    def _own(self, handler: Any) -> Handler[Any, Any]:
        if not isinstance(handler, Handler):
            raise HandlerError(
                f"cron() takes a handler, not {handler!r:.100}: write it above @handler('type')"
            )
        known = self._handlers.get(handler.type)
        if known is None or known.function is not handler.function:
            raise ConfigurationError(
                f"handler {handler.type!r} belongs to another router: use the cron() of that one"
            )
        return handler

    def _add(self, schedule: Schedule) -> None:
        known = self._schedules.setdefault(schedule.name, schedule)
        if known != schedule:
            raise ConfigurationError(
                f"there is a schedule {schedule.name!r} already, {known.expression!r} of type "
                f"{known.type!r}: give this one a name of its own, cron(…, name=…)"
            )

    def middleware(self, function: Middleware) -> Middleware:
        """Run `async def function(job, call_next)` around every handler of this router."""
        self._middleware.append(function)
        return function

    def include(self, router: Router) -> None:
        """Take over the handlers of another router, with its middleware inside this one's.

        Its schedules come with them.
        """
        for handler in router:
            if not handler.type.startswith(OWN):
                self._register(handler)
        for schedule in router.schedules:
            self._add(schedule)

    def get(self, type: str) -> Handler[Any, Any] | None:
        """The handler of a type."""
        return self._handlers.get(type)

    def find(self, type: str) -> bool:  # noqa: ARG002  for routers that look elsewhere
        """Look for the handler of a type that a worker has met, and register it."""
        return False

    def __iter__(self) -> Iterator[Handler[Any, Any]]:
        for handler in self._handlers.values():
            yield _within(handler, tuple(self._middleware))

    def __contains__(self, type: str) -> bool:
        return type in self._handlers

    @property
    def types(self) -> list[str]:
        """The registered types, sorted."""
        return sorted(self._handlers)

    def chain(self, handler: Handler[Any, Any]) -> tuple[Middleware, ...]:
        """The middleware around a handler, outermost first."""
        return (*self._middleware, *handler.middleware)

    def _register(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        known = self._handlers.get(handler.type)
        if known is not None and known.function is not handler.function:
            name = getattr(known.function, "__qualname__", repr(known.function))
            raise ConfigurationError(
                f"type {handler.type!r} has a handler already: {known.function.__module__}.{name}"
            )
        self._handlers[handler.type] = handler
        return handler


def _payload_of(handler: Handler[Any, Any], payload: Any) -> str:
    try:
        return handler.codec.encode(payload)
    except PayloadError as error:
        raise ConfigurationError(f"a schedule of {handler.type!r}: {error}") from None


def _within(handler: Handler[Any, Any], outer: tuple[Middleware, ...]) -> Handler[Any, Any]:
    if not outer:
        return handler
    values = {name: getattr(handler, name) for name in _FIELDS}
    return Handler(**{**values, "middleware": (*outer, *handler.middleware)})


_FIELDS = [attribute.name for attribute in Handler.__attrs_attrs__]


def _places(type: str, per_owner: PerOwner | None) -> tuple[Limit, ...]:
    checked = check_per_owner(per_owner)
    return () if checked is None else checked.places(type)


def _ambiguity(type: str, policy: str, verify: Verifier | None) -> dict[str, Any]:
    if policy not in ("retry", "fail", "verify"):
        raise OptionError(f"on_ambiguous={policy!r} is none of 'retry', 'fail', 'verify'")
    if (policy == "verify") != (verify is not None):
        raise OptionError("on_ambiguous='verify' and verify=function belong together")
    if verify is not None and not callable(verify):
        raise OptionError(f"verify={verify!r} is no function")
    del type
    return {"on_ambiguous": None if policy == "retry" else policy, "verify": verify}


def _webhook(name: str | None, keep: Any) -> str | None:
    if name is not None and keep is False:
        raise OptionError(
            "keep=False deletes a job when it completes, before its webhook is told; keep it for a "
            "while, as in keep=3600"
        )
    return short_text(name, "webhook", limit=200)


def _batch(size: int | None, verify: Verifier | None) -> int | None:
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LARGEST_BATCH:
        raise OptionError(f"batch={size!r} is not an integer from 1 to {LARGEST_BATCH}")
    if verify is not None:
        raise OptionError("batch= and verify= do not go together: a verifier is asked about one")
    return size


def _retry(value: Retry | None) -> Retry:
    if value is not None and not isinstance(value, Retry):
        raise OptionError(f"retry must be a Retry, not {value!r}")
    return value or Retry()


def timeout_seconds(value: float | timedelta | None) -> float | None:
    """A timeout in seconds; `None` is none."""
    if value is None:
        return None
    span = to_span(value, name="timeout")
    if span <= 0:
        raise OptionError(f"timeout={value!r} must be above 0; None is no timeout")
    return span / 1_000_000


def keep_span(value: float | timedelta | bool | None) -> int | None:
    """Retention in microseconds: 0 for `False`, `None` for the default."""
    if value is None or value is True:
        return None
    if value is False:
        return 0
    span = to_span(value, name="keep")
    if span < 1_000_000:
        raise OptionError(f"keep={value!r} must be at least a second; False deletes at once")
    return span


def _build(type: str, function: Callable[..., Any], options: dict[str, Any]) -> Handler[Any, Any]:
    if not callable(function):
        raise HandlerError(f"handler {type!r}: {function!r} is no function")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise HandlerError(
            f"handler {type!r}: a generator cannot be a handler; return the result, "
            f"and use job.progress() on the way"
        )
    is_async = _signature.is_async(function)
    batch = options["batch"] is not None
    payload, takes = _signature.parameters(type, function, is_async=is_async, batch=batch)
    codec = Codec(payload, type_name=type)
    return Handler(
        type=type, function=function, codec=codec, takes=takes, is_async=is_async, **options
    )


default_router = Router()
"""Where `@jobq.handler` registers; a queue uses it unless it is given a router."""

handler = default_router.handler
cron = default_router.cron
