"""What each route does, written once for all frameworks: generators of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import frozen

from jobq import _batch_verbs as batch_verbs
from jobq import _verbs as verbs
from jobq import backends
from jobq._checks import short_text
from jobq._clock import to_datetime
from jobq._config import Config
from jobq._model import Job, NewJob, statuses
from jobq._steps import Do
from jobq.http import reading
from jobq.http.access import Scope, forbidden
from jobq.http.artifacts import mentions, shown
from jobq.http.messages import Request, Response, answer
from jobq.http.polling import accepted, ask_again, etag
from jobq.http.shapes import HealthView
from jobq.http.steps import Ask, Operation, Steps, Trigger, Watch

if TYPE_CHECKING:
    from jobq.http.api import JobsApi

MEMBERS = frozenset({"type", "payload", "priority", "scheduledFor", "owner"})
AT_MOST = 100
USUAL_PAGE = 50


@frozen(kw_only=True)
class Call:
    """One request to one route."""

    api: JobsApi
    request: Request
    base: str
    """The path that the routes are mounted at."""
    action: str
    id: str = ""
    name: str = ""
    """Of an artifact."""

    def admit(self) -> Steps[Scope]:
        """Whose jobs the caller may see. Raises `Problem` where he may do nothing."""
        return (yield from self.api.access.decide(self.request, self.action))

    def job(self) -> Steps[Job]:
        """The job that the path names, if the caller may see it."""
        scope = yield from self.admit()
        job = yield Ask(verbs.get, reading.id_of(self.id))
        scope.check(job)
        return job  # type: ignore[no-any-return]

    def location(self, job: Job) -> str:
        return f"{self.base.rstrip('/')}/{job.id}"

    def now(self) -> datetime:
        return to_datetime(self.api.config.clock.now())

    def polling(self, job: Job) -> dict[str, str]:
        """The header that says when to ask again."""
        return ask_again(job, self.now())


# --- create -------------------------------------------------------------------------------------


def create(call: Call) -> Operation:
    scope = yield from call.admit()
    content = reading.body_of(call.request, largest=call.api.largest_body)
    new = _new_job(call, scope, content)
    job = yield Ask(verbs.enqueue, new, None)
    if call.api.triggers(call.request):
        yield Trigger()
    return accepted(job, call.location(job), call.now())


def _new_job(call: Call, scope: Scope, content: Mapping[str, Any]) -> NewJob:
    reading.known_members(content, MEMBERS)
    owner = content.get("owner")
    if scope.owner is not None and owner not in (None, scope.owner):
        raise forbidden("a job may be created for its caller only: leave out owner")
    return NewJob(
        type=_allowed(call.api.allow, content.get("type")),
        payload=content.get("payload"),
        priority=reading.priority_of(content),
        run_at=reading.instant_of(content, "scheduledFor"),
        owner=scope.owner or owner,
        idempotency_key=reading.idempotency_key(call.request),
    )


def _allowed(allow: Mapping[str, Any], name: Any) -> Any:
    """The handler, or the name, of a type that may be created."""
    if not allow:
        raise forbidden("no type of job may be created here: name those that may, with allow=[…]")
    if not isinstance(name, str) or name not in allow:
        raise reading.invalid(f"type={name!r:.100} must be one of {', '.join(sorted(allow))}")
    return allow[name]


# --- look ---------------------------------------------------------------------------------------


def show(call: Call) -> Operation:
    job = yield from call.job()
    wait = reading.wait_of(call.request)
    asks_anew = "if-none-match" not in call.request.headers
    is_known = reading.is_known(etag(job), call.request)
    if wait and not job.status.finished and (asks_anew or is_known):
        seconds = min(wait, call.api.options.longest_wait)
        job = (yield Watch(job, seconds, until_finished=asks_anew)) or job
    headers = {"etag": etag(job), "cache-control": "private, no-cache", **call.polling(job)}
    if wait is not None and "prefer" in call.request.headers:
        headers["preference-applied"] = f"wait={min(wait, call.api.options.longest_wait):g}"
    # An address may be good for some time only: it is told anew.
    if reading.is_known(etag(job), call.request) and not mentions(job.result):
        return Response(status=304, headers=headers)
    [shape] = yield from shown(call, [job])
    return answer(shape, headers=headers)


def batch(call: Call) -> Operation:
    scope = yield from call.admit()
    found = yield Ask(batch_verbs.batch, reading.id_of(call.id, "batch"))
    scope.check(found)
    return answer(found.to_dict())


def page(call: Call) -> Operation:
    scope = yield from call.admit()
    limit = reading.whole(call.request, "limit", default=USUAL_PAGE, least=1, most=AT_MOST)
    after, where = reading.uuid_of(call.request, "after"), _where(call.request, scope)
    ids = reading.ids_of(call.request)
    if ids is not None:
        jobs = yield Ask(verbs.get_many, ids)
        fitting = yield from shown(call, [job for job in jobs if _fits(job, where)])
        return answer({"jobs": fitting, "next": None})
    found = yield Ask(verbs.page, limit=limit, after=after, **where)
    return answer({"jobs": (yield from shown(call, found.jobs)), "next": found.next})


def _where(request: Request, scope: Scope) -> dict[str, Any]:
    """The filters of a query."""
    given = request.parameters
    names = ("status", "type", "queue", "owner")
    where: dict[str, Any] = {n: short_text(given[n], n) for n in names if n in given}
    if "status" in where:
        where["status"] = statuses(name.strip() for name in where["status"].split(","))
    if "batch" in given:
        where["batch"] = reading.uuid_of(request, "batch")
    if scope.owner is not None:
        if where.get("owner", scope.owner) != scope.owner:
            raise forbidden("only your own jobs are to be seen: leave out owner")
        where["owner"] = scope.owner
    return where


def _fits(job: Job, where: Mapping[str, Any]) -> bool:
    """Whether a job that was asked for by its id fits the filters as well."""
    among = where.get("status")
    facts = {"type": job.type, "queue": job.queue, "owner": job.owner, "batch": job.batch_id}
    same = all(facts[name] == value for name, value in where.items() if name != "status")
    return same and (among is None or job.status in among)


# --- move ---------------------------------------------------------------------------------------


def cancel(call: Call) -> Operation:
    return (yield from _moved(call, verbs.cancel))


def retry(call: Call) -> Operation:
    return (yield from _moved(call, verbs.retry))


def _moved(call: Call, verb: Callable[..., Any]) -> Operation:
    job = yield from call.job()
    job = yield Ask(verb, job.id)
    if not job.status.finished and call.api.triggers(call.request):
        yield Trigger()
    headers = {"etag": etag(job), "location": call.location(job), **call.polling(job)}
    [shape] = yield from shown(call, [job])
    return answer(shape, status=202, headers=headers)


# --- probes -------------------------------------------------------------------------------------


def health(_: Call) -> Operation:
    return answer(HealthView(status="healthy"))
    yield  # a generator, as every operation


def ready(_: Call) -> Operation:
    """Whether the database answers."""
    yield Ask(_survey)
    return answer(HealthView(status="ready"))


def _survey(_: Config) -> verbs.Verb[Any]:
    return (yield Do(backends.ops.survey, types=[]))
