"""The routes of `jobq.http` as Django views, for WSGI and ASGI.

>>> urlpatterns = [path("jobs/", include("jobq.contrib.django.urls"))]
>>> urlpatterns = jobs_urls("api/jobs", owner=current_user, allow=["image_edit"])
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.http.request import RawPostDataException
from django.middleware.csrf import CsrfViewMiddleware
from django.shortcuts import resolve_url
from django.urls import URLPattern, re_path, reverse
from django.utils.functional import lazy
from django.views.decorators.csrf import csrf_exempt

from jobq._model import Job
from jobq.contrib.django import DjangoQueue, queue
from jobq.contrib.django._hosts import AsyncDjangoHost, DjangoHost, Outside, outside_of
from jobq.http import DriveApi, JobsApi, Problem, Request, Response, Stream, in_debug, polling
from jobq.http.dashboard import ACTIONS, Dashboard, Operator
from jobq.http.trigger import triggers_itself

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]
SAFE = ("GET", "HEAD", "OPTIONS")


class DjangoJobsApi(JobsApi):
    """The routes of jobs, on Django's connections."""

    queue: DjangoQueue

    @cached_property
    def outside(self) -> Outside:
        """The same queue for what lasts."""
        return outside_of(self.queue)

    @cached_property
    def host(self) -> DjangoHost:
        """Who does the steps under WSGI."""
        return DjangoHost(self.queue, self.outside)

    @property
    def async_host(self) -> AsyncDjangoHost:
        """Who does the steps under ASGI."""
        return AsyncDjangoHost(self.queue, self.outside)


class DjangoDriveApi(DjangoJobsApi, DriveApi):
    """The drive endpoint alone, on Django's connections."""


class DjangoDashboard(DjangoJobsApi, Dashboard):
    """The dashboard, on Django's connections."""


def jobs_urls(
    prefix: str = "jobs", *, queue: DjangoQueue = queue, name: str = "jobq", **options: Any
) -> list[URLPattern]:
    """The routes of a queue below a prefix. The options are those of `jobq.http.Options`.

    `owner` is called with Django's request; it may be asynchronous under ASGI.

    >>> urlpatterns = [*jobs_urls("api/jobs", owner=current_user, allow=["image_edit"])]
    """
    return _patterns(DjangoJobsApi(queue, **options), prefix, name)


def drive_urls(
    prefix: str = "api/workers",
    *,
    queue: DjangoQueue = queue,
    name: str = "jobq-alone",
    **options: Any,
) -> list[URLPattern]:
    """The drive endpoint alone: POST on the prefix works, GET tells the queue's state.

    >>> urlpatterns = [*drive_urls("api/workers")]
    """
    return _patterns(DjangoDriveApi(queue, **options), prefix, name)


def staff(request: HttpRequest) -> Operator | None:
    """Members of the staff may look; who may change or delete jobs may do so here.

    Those are Django's permissions `jobq.change_job` and `jobq.delete_job`.
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    if not user.is_staff:
        raise PermissionDenied("only members of the staff may look at this")
    actions = [action for action in ACTIONS if action != "delete"]
    may = actions if user.has_perm("jobq.change_job") else []
    may += ["delete"] if user.has_perm("jobq.delete_job") else []
    return Operator(name=user.get_username(), may=may)


def _login_url() -> str:
    """Where to sign in; its name can be resolved once all URLs are known."""
    return str(resolve_url(settings.LOGIN_URL))


def dashboard_urls(
    prefix: str = "jobq",
    *,
    queue: DjangoQueue = queue,
    name: str = "jobq-dashboard",
    **options: Any,
) -> list[URLPattern]:
    """The dashboard below a prefix. The options are those of `jobq.http.dashboard`.

    By default it is for the staff, see `staff`, and others are sent to `LOGIN_URL`.

    >>> urlpatterns = [*dashboard_urls("jobq")]
    """
    usual: dict[str, Any] = {"access": staff, "sign_in": lazy(_login_url, str)()}
    return _patterns(DjangoDashboard(queue, **usual | options), prefix, name)


def _patterns(api: JobsApi, prefix: str, name: str) -> list[URLPattern]:
    mount = re.escape(prefix.strip("/"))
    return [
        re_path(
            _expression(mount, path),
            _view(api, path),
            name=f"{name}-{next(iter(found.values())).name}",
        )
        for path, found in api.paths.items()
    ]


def _expression(mount: str, path: str) -> str:
    """A path of the route table below a mount; both may be empty, and a slash may follow."""
    whole = f"{mount}{path}" if mount else path.removeprefix("/")
    for part in ("id", "name"):
        whole = whole.replace(f"{{{part}}}", f"(?P<{part}>[^/]+)")
    return f"^{whole}/?$" if whole else "^$"


def _view(api: JobsApi, path: str) -> View:
    guarded = any(route.part == "jobs" for route in api.paths[path].values())

    async def view(request: HttpRequest, id: str = "", name: str = "") -> HttpResponseBase:
        is_asgi = isinstance(request, ASGIRequest)
        try:
            if guarded and _is_known_by_cookie(request):  # its token may be in the session
                await sync_to_async(_check_forgery, thread_sensitive=True)(request)
            asked = _request(api, request)
        except Problem as problem:
            return _native(api, problem.response(), is_asgi=is_asgi)
        if is_asgi:
            answered = await api.ahandle(path, asked, id=id, name=name)
        else:  # in the thread that serves the request
            handle = sync_to_async(api.handle, thread_sensitive=True)
            answered = await handle(path, asked, id=id, name=name)
        return _native(api, answered, is_asgi=is_asgi)

    exempt: Any = csrf_exempt(view)
    exempt._non_atomic_requests = _EveryDatabase()  # noqa: SLF001  of ATOMIC_REQUESTS
    return exempt  # type: ignore[no-any-return]


class _EveryDatabase:
    """A verb is a transaction of its own; waiting in one would help nobody."""

    def __contains__(self, alias: str) -> bool:
        return True


class _Forgery(CsrfViewMiddleware):
    """Django's own check, which tells instead of answering."""

    def _reject(self, request: HttpRequest, reason: str) -> str:
        return reason


def _is_known_by_cookie(request: HttpRequest) -> bool:
    """Whether another site could have sent a request in somebody's name; keys are proof enough."""
    return request.method not in SAFE and settings.SESSION_COOKIE_NAME in request.COOKIES


def _check_forgery(request: HttpRequest) -> None:
    """Whoever is known by a cookie has to send Django's token along."""
    check = _Forgery(lambda _: HttpResponse())
    check.process_request(request)
    reason = check.process_view(request, None, (), {})
    if reason is not None:
        raise Problem(403, "csrf", f"{reason} Send the token of Django's cookie as X-CSRFToken.")


def _request(api: JobsApi, request: HttpRequest) -> Request:
    return Request(
        method=str(request.method),
        path=request.path.rstrip("/"),
        query=request.META.get("QUERY_STRING", ""),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=_body(request, api.largest_body),
        debug=in_debug(app=settings.DEBUG),
        native=request,
    )


def _body(request: HttpRequest, largest: int) -> bytes:
    """The body, or as much of it as shows that it is too large."""
    if request.method in ("GET", "HEAD"):
        return b""
    try:
        return bytes(request.read(largest + 1))
    except RawPostDataException:  # somebody has read it before
        return bytes(request.body)


def _native(api: JobsApi, answered: Response | Stream, *, is_asgi: bool) -> HttpResponseBase:
    if isinstance(answered, Response):
        return _whole(answered)
    chunks: Any = api.achunks(answered) if is_asgi else api.chunks(answered)
    return StreamingHttpResponse(chunks, status=answered.status, headers=dict(answered.headers))


def _whole(answered: Response) -> HttpResponse:
    return HttpResponse(answered.body, status=answered.status, headers=dict(answered.headers))


def current_user(request: HttpRequest) -> Any:
    """The signed-in user, for `owner=`; `None` where nobody is signed in."""
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def accepted(
    job: Job,
    *,
    queue: DjangoQueue | None = None,
    name: str = "jobq",
    namespace: str = "",
    auto_trigger: bool | None = None,
) -> HttpResponse:
    """The answer of a view of your own that has enqueued a job: 202, and where to ask for it.

    It is 200 where the job was there before, as with an `idempotency_key` that comes again. With
    `queue`, the job is run in this process on the side, once it is committed, where `auto_trigger`
    says so; by default in development only. `name` and `namespace` are those that the routes were
    mounted with.
    """
    if queue is not None and triggers_itself(auto_trigger, debug=in_debug(app=settings.DEBUG)):
        outside_of(queue).trigger()
    place = reverse(f"{namespace}:{name}-show" if namespace else f"{name}-show", args=[job.id])
    return _whole(polling.accepted(job, place, job.updated_at))
