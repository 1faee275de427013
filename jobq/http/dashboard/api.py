"""The dashboard of one queue: its options, and how a request becomes a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from jobq._errors import ConfigurationError
from jobq._queue import AsyncQueue, Queue
from jobq.http.access import Deny, Policy
from jobq.http.api import JobsApi
from jobq.http.dashboard.access import policy_of
from jobq.http.dashboard.rendering import Renderer
from jobq.http.dashboard.routes import ROUTES
from jobq.http.dashboard.visit import Visit
from jobq.http.hosts import Passed
from jobq.http.messages import Request
from jobq.http.problems import not_allowed, problem_of
from jobq.http.routes import Route
from jobq.http.steps import Operation

LARGEST_FORM = 64 * 1024


@attrs.frozen(kw_only=True, slots=False, eq=False)
class DashboardOptions:
    """What a dashboard does; adapters take the same names.

    - `access`: a function of the framework's request that returns an `Operator` or `None`, or a
      policy such as `Passwords`. Without it nobody may look.
    - `title`: what stands at the top, to tell several dashboards apart.
    - `refresh`: seconds after which a page that is looked at is read anew; 0 for never.
    - `hide`: names of fields whose values are not shown in payloads and results.
    - `sign_in`: where those who are not signed in are sent, with `?next=`.
    """

    access: Any = None
    title: str = "jobq"
    refresh: float = 5.0
    hide: Iterable[str] = ()
    sign_in: str | None = None

    def __attrs_post_init__(self) -> None:
        seconds = self.refresh
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
            raise ConfigurationError(f"refresh={seconds!r} must be a number of seconds, or 0")
        if isinstance(self.hide, str) or not all(isinstance(name, str) for name in self.hide):
            raise ConfigurationError(f"hide={self.hide!r} must be a list of names of fields")


class Dashboard(JobsApi):
    """The pages of a queue, for an adapter to mount. Knows no framework.

    >>> dashboard = Dashboard(queue, access=Passwords({"ada": "correct horse battery"}))
    """

    options: DashboardOptions  # type: ignore[assignment]

    def __init__(self, queue: Queue | AsyncQueue, **options: Any) -> None:
        self.options = DashboardOptions(**options)
        self.queue = queue
        self.access: Policy = policy_of(self.options.access) or Deny()
        self.allow = {}
        self.renderer = Renderer()

    @property
    def routes(self) -> tuple[Route, ...]:
        """What to mount."""
        return ROUTES

    @property
    def largest_body(self) -> int:
        """Bytes that a form may have."""
        return LARGEST_FORM

    def _operation(self, path: str, request: Request, id: str, name: str) -> Operation:
        own = path.replace("{id}", id).replace("{name}", name)
        base = request.path.rstrip("/").removesuffix(own.rstrip("/")).rstrip("/")
        methods = self.paths[path]
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        screen = (route or next(iter(methods.values()))).name
        visit = Visit(api=self, request=request, base=base, screen=screen, id=id, name=name)
        try:
            if route is None:
                raise not_allowed(request.method, methods, looks="GET" in methods)
            operation: Callable[[Any], Operation] = route.operation
            return (yield from operation(visit))
        except Passed:
            raise
        except Exception as error:  # noqa: BLE001  whoever looks is told of it
            return visit.refusal(problem_of(error))
