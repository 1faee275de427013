"""The API of one queue: its options, and how a request becomes an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import attrs

from jobq import _steps
from jobq._config import Config
from jobq._errors import ConfigurationError
from jobq._handler import Handler
from jobq._queue import AsyncQueue, Queue
from jobq.http import steps
from jobq.http.access import Deny, Owner, Policy
from jobq.http.budget import concurrency_of, seconds_of
from jobq.http.hooks import ProviderWebhook, providers
from jobq.http.hosts import AsyncHost, Host, Passed
from jobq.http.keys import Keys
from jobq.http.messages import Request, Response, Stream
from jobq.http.operations import Call
from jobq.http.problems import not_allowed, problem_of
from jobq.http.routes import DRIVE_ALONE, ROUTES, Route, by_path
from jobq.http.steps import Operation
from jobq.http.trigger import triggers_itself

ENVELOPE = 64 * 1024
"""Bytes that a request's body may have beside the payload, or an event."""


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Options:
    """What an API does; adapters take the same names.

    - `owner`: a function that returns the caller's id, or `access`: a policy. Without either,
      nobody may use the routes of jobs.
    - `hide`: with `owner`, whether another's job is answered with 404 instead of 403.
    - `allow`: the handlers, or names of types, that may be created; none by default.
    - `drive`: whether the drive endpoint is mounted too. `keys`: what opens it, instead of
      `JOB_PROCESSOR_API_KEY`, `WORKER_SECRET` and `CRON_SECRET`.
    - `time_budget`: seconds that one call of it may take; by default `JOBQ_TIME_BUDGET`, or what
      the platform allows. `concurrency`: how many jobs at a time.
    - `auto_trigger`: whether a created job is run in this process on the side; by default in
      development only.
    - `webhooks`: `{name: ProviderWebhook(…)}`, or its secret alone: what `POST /webhooks/<name>`
      verifies, for jobs that wait with `webhook=name`.
    - `longest_wait`, `longest_stream`, `heartbeat`: seconds that a long poll, and an event stream,
      may take, and after which a silent stream says that it is still there.
    """

    owner: Any = None
    access: Policy | None = None
    hide: bool = False
    allow: Iterable[Handler[Any, Any] | str] = ()
    drive: bool = True
    keys: Iterable[str] | None = attrs.field(default=None, repr=False)
    time_budget: float | None = None
    concurrency: int | None = None
    auto_trigger: bool | None = None
    webhooks: Mapping[str, ProviderWebhook | str] | None = attrs.field(default=None, repr=False)
    longest_wait: float = 25.0
    longest_stream: float = 25.0
    heartbeat: float = 15.0

    def __attrs_post_init__(self) -> None:
        if self.owner is not None and self.access is not None:
            raise ConfigurationError("give owner= or access=, not both; AllOf(Owner(…), …) joins")
        if self.keys is not None:
            Keys(self.keys)
        providers(self.webhooks)
        if self.time_budget is not None:
            seconds_of(self.time_budget)
        if self.concurrency is not None:
            concurrency_of(self.concurrency)
        for name in ("longest_wait", "longest_stream", "heartbeat"):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
                raise ConfigurationError(f"{name}={seconds!r} must be above 0")


class JobsApi:
    """The routes of a queue, for an adapter to mount. Knows no framework.

    >>> api = JobsApi(queue, owner=lambda request: request.user.id, allow=["image_edit"])
    >>> api.handle("", Request(method="GET", path="/jobs")).status  # doctest: +SKIP
    200
    """

    def __init__(self, queue: Queue | AsyncQueue, **options: Any) -> None:
        self.options = Options(**options)
        self.queue = queue
        self.access: Policy = self.options.access or _owned(self.options)
        self.allow = _named(self.options.allow)
        self.webhooks = providers(self.options.webhooks)

    @property
    def config(self) -> Config:
        return self.queue._config  # noqa: SLF001  a face of the configuration

    @property
    def routes(self) -> tuple[Route, ...]:
        """What to mount."""
        return tuple(route for route in ROUTES if self.options.drive or route.part != "drive")

    @cached_property
    def paths(self) -> dict[str, dict[str, Route]]:
        """The routes of each path, by their methods; in the order in which paths are tried."""
        return by_path(self.routes)

    @property
    def largest_body(self) -> int:
        """Bytes that the body of a request may have."""
        bounds = self.config.bounds
        return max(bounds.payload, bounds.step) + ENVELOPE

    def triggers(self, request: Request) -> bool:
        """Whether new jobs are to be run on the side."""
        return triggers_itself(self.options.auto_trigger, debug=request.debug)

    @cached_property
    def host(self) -> Host:
        """Who does the steps of synchronous servers."""
        return Host(self.queue.sync if isinstance(self.queue, AsyncQueue) else self.queue)

    @cached_property
    def async_host(self) -> AsyncHost:
        """Who does the steps of asynchronous servers."""
        return AsyncHost(self.queue.aio if isinstance(self.queue, Queue) else self.queue)

    def handle(
        self, path: str, request: Request, *, id: str = "", name: str = ""
    ) -> Response | Stream:
        """Answer a request to a path of the table (`""`, `/{id}`, …), on a thread that may block.

        What functions of the app raise goes through; everything else becomes a problem.
        """
        try:
            return _steps.run(self._operation(path, request, id, name), self.host)
        except Passed as passed:
            raise passed.error from None
        except Exception as error:  # noqa: BLE001  a client is told of it, without the inside
            return problem_of(error).response()

    async def ahandle(
        self, path: str, request: Request, *, id: str = "", name: str = ""
    ) -> Response | Stream:
        """`handle`, in an event loop."""
        try:
            return await _steps.run_async(self._operation(path, request, id, name), self.async_host)
        except Passed as passed:
            raise passed.error from None
        except Exception as error:  # noqa: BLE001  a client is told of it, without the inside
            return problem_of(error).response()

    def chunks(self, stream: Stream) -> Iterator[bytes]:
        """The body of a stream, on a thread that may block."""
        return steps.chunks(stream, self.host)

    def achunks(self, stream: Stream) -> AsyncIterator[bytes]:
        """The body of a stream, in an event loop."""
        return steps.chunks_async(stream, self.async_host)

    def _operation(self, path: str, request: Request, id: str, name: str) -> Operation:
        route = _route(self.paths[path], request.method)
        above = path.partition("/{name}")[0].replace("{id}", id)
        here = request.path.rpartition("/")[0] if name else request.path
        base = here.removesuffix(above) if path else request.path
        call = Call(api=self, request=request, base=base, action=route.name, id=id, name=name)
        answered = yield from route.operation(call)
        if request.method == "HEAD" and isinstance(answered, Stream):
            return Response(status=answered.status, headers=answered.headers)
        return answered


class DriveApi(JobsApi):
    """The drive endpoint alone: POST on the mount point works, GET tells the queue's state."""

    @property
    def routes(self) -> tuple[Route, ...]:
        return tuple(
            attrs.evolve(route, path=DRIVE_ALONE[route.path])
            for route in ROUTES
            if route.part == "drive"
        )


def _owned(options: Options) -> Policy:
    return Deny() if options.owner is None else Owner(options.owner, hide=options.hide)


def _named(allow: Iterable[Handler[Any, Any] | str]) -> Mapping[str, Any]:
    """The types that may be created, by their names."""
    if isinstance(allow, str):
        raise ConfigurationError(f"allow={allow!r} must be a list of handlers or names of types")
    named = {one.type if isinstance(one, Handler) else one: one for one in allow}
    odd = [name for name in named if not isinstance(name, str)]
    if odd:
        raise ConfigurationError(f"allow: {odd[0]!r} is neither a handler nor the name of a type")
    return named


def _route(methods: Mapping[str, Route], method: str) -> Route:
    """The route of a method; HEAD is answered as GET, where that only looks."""
    looks = "GET" in methods and methods["GET"].name != "cron"
    wanted = "GET" if method == "HEAD" and looks else method
    if wanted in methods:
        return methods[wanted]
    raise not_allowed(method, methods, looks=looks)
