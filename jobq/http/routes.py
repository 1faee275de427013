"""The route table: what adapters, OpenAPI and the reference are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from attrs import frozen

from jobq.http import artifacts, driving, hooks, operations, shapes
from jobq.http.events import events
from jobq.http.messages import BYTES, EVENTS, JSON
from jobq.http.operations import Call
from jobq.http.parameters import (
    BATCH_ID,
    FILTERS,
    ID,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    LAST_EVENT_ID,
    MAX_JOBS,
    NAME,
    PROVIDER,
    RANGE,
    SIGNED,
    TOKEN,
    WAIT,
    Parameter,
)
from jobq.http.steps import Operation

Part = Literal["jobs", "drive", "hooks", "probes", "dashboard"]


@frozen(kw_only=True)
class Answer:
    """One status that a route may answer with."""

    status: int
    summary: str
    shape: Any = None
    media_type: str = JSON
    headers: tuple[str, ...] = ()


@frozen(kw_only=True)
class Route:
    """One method on one path."""

    name: str
    """What policies call the action."""
    method: str
    path: str
    part: Part
    summary: str
    operation: Callable[[Call], Operation]
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    """The shape of the JSON that it takes."""

    @property
    def secured(self) -> bool:
        """Whether the caller has to prove himself beforehand; a hook's token is proof enough."""
        return self.part not in ("probes", "hooks")


def problem(status: int, summary: str, headers: tuple[str, ...] = ()) -> Answer:
    return Answer(
        status=status,
        summary=summary,
        shape=shapes.ProblemView,
        media_type="application/problem+json",
        headers=headers,
    )


UNAVAILABLE = problem(503, "The database cannot be reached", ("Retry-After",))
REFUSED = (
    problem(401, "The caller is unknown", ("WWW-Authenticate",)),
    problem(403, "The caller may not do this"),
)
UNKNOWN = problem(404, "There is no such job")
INVALID = problem(422, "A value is not what it should be; `detail` names it")
MOVED = (
    Answer(
        status=202,
        summary="The job as it is now",
        shape=shapes.JobView,
        headers=("ETag", "Location", "Retry-After"),
    ),
    *REFUSED,
    UNKNOWN,
    problem(409, "The job's status does not allow it"),
    UNAVAILABLE,
)
WORKED = (
    Answer(status=200, summary="What was done, also where jobs failed", shape=shapes.ReportView),
    *REFUSED,
    INVALID,
    problem(503, "No key is configured, or the database cannot be reached", ("Retry-After",)),
)

ROUTES = (
    Route(
        name="create",
        method="POST",
        path="",
        part="jobs",
        summary="Create a job",
        operation=operations.create,
        parameters=(IDEMPOTENCY_KEY,),
        body=shapes.NewJobView,
        answers=(
            Answer(
                status=202,
                summary="The job is stored",
                shape=shapes.CreatedView,
                headers=("Location", "Retry-After"),
            ),
            Answer(
                status=200,
                summary="The same key has made this job before",
                shape=shapes.CreatedView,
                headers=("Location", "Retry-After"),
            ),
            problem(400, "The body is not JSON, or a header cannot be used"),
            *REFUSED,
            problem(409, "The same key has made another job"),
            problem(413, "The body is too large"),
            problem(415, "The body is not `application/json`"),
            INVALID,
            problem(429, "The owner has as many jobs waiting as he may", ("Retry-After",)),
            UNAVAILABLE,
        ),
    ),
    Route(
        name="list",
        method="GET",
        path="",
        part="jobs",
        summary="List jobs, newest first",
        operation=operations.page,
        parameters=FILTERS,
        answers=(
            Answer(status=200, summary="A page of jobs", shape=shapes.PageView),
            *REFUSED,
            INVALID,
            UNAVAILABLE,
        ),
    ),
    Route(
        name="process",
        method="POST",
        path="/process",
        part="drive",
        summary="Run jobs, for a bounded time",
        operation=driving.process,
        parameters=(MAX_JOBS,),
        answers=WORKED,
    ),
    Route(
        name="state",
        method="GET",
        path="/process",
        part="drive",
        summary="Tell how the queue stands",
        operation=driving.state,
        answers=(
            Answer(status=200, summary="How the queue stands", shape=shapes.StateView),
            *REFUSED,
            WORKED[-1],
        ),
    ),
    Route(
        name="cron",
        method="GET",
        path="/cron",
        part="drive",
        summary="Run jobs, for schedulers that send GET",
        operation=driving.process,
        parameters=(MAX_JOBS,),
        answers=WORKED,
    ),
    Route(
        name="cron_post",
        method="POST",
        path="/cron",
        part="drive",
        summary="Run jobs, for schedulers that send POST",
        operation=driving.process,
        parameters=(MAX_JOBS,),
        answers=WORKED,
    ),
    Route(
        name="metrics",
        method="GET",
        path="/metrics",
        part="drive",
        summary="What a scraper of Prometheus asks for",
        operation=driving.metrics,
        answers=(
            Answer(status=200, summary="The metrics", media_type="text/plain; version=1.0.0"),
            *REFUSED,
            problem(404, "No observer of the queue tells metrics"),
            WORKED[-1],
        ),
    ),
    Route(
        name="health",
        method="GET",
        path="/health",
        part="probes",
        summary="Whether the process answers",
        operation=operations.health,
        answers=(Answer(status=200, summary="It does", shape=shapes.HealthView),),
    ),
    Route(
        name="ready",
        method="GET",
        path="/ready",
        part="probes",
        summary="Whether the database answers",
        operation=operations.ready,
        answers=(Answer(status=200, summary="It does", shape=shapes.HealthView), UNAVAILABLE),
    ),
    Route(
        name="hook",
        method="POST",
        path="/hooks/{id}",
        part="hooks",
        summary="Send a job the event that it waits for; the body is any JSON, or none",
        operation=hooks.hook,
        parameters=(TOKEN,),
        answers=(
            Answer(status=202, summary="The job has it", shape=shapes.ResumedView),
            problem(400, "The body is not JSON"),
            problem(404, "No job waits for it, or not any more, or it has an event already"),
            problem(413, "The body is too large"),
            INVALID,
            UNAVAILABLE,
        ),
    ),
    Route(
        name="webhook",
        method="POST",
        path="/webhooks/{id}",
        part="hooks",
        summary="Take a provider's signed event, and have the job look that waits for it",
        operation=hooks.webhook,
        parameters=(PROVIDER, *SIGNED),
        answers=(
            Answer(
                status=200,
                summary="The signature is good; `resumed` says whether a job waited for this",
                shape=shapes.ResumedView,
            ),
            problem(400, "The body is not JSON"),
            problem(401, "The signature is missing, wrong or too old"),
            problem(404, "There is no such provider here"),
            problem(413, "The body is too large"),
            UNAVAILABLE,
        ),
    ),
    Route(
        name="show",
        method="GET",
        path="/{id}",
        part="jobs",
        summary="Show a job",
        operation=operations.show,
        parameters=(ID, WAIT, IF_NONE_MATCH),
        answers=(
            Answer(
                status=200,
                summary="The job; `Retry-After` says when to ask again, until it has finished",
                shape=shapes.JobView,
                headers=("ETag", "Retry-After"),
            ),
            Answer(status=304, summary="It is what the client has already", headers=("ETag",)),
            *REFUSED,
            UNKNOWN,
            INVALID,
            UNAVAILABLE,
        ),
    ),
    Route(
        name="batch",
        method="GET",
        path="/batches/{id}",
        part="jobs",
        summary="Show how far a batch of jobs is",
        operation=operations.batch,
        parameters=(BATCH_ID,),
        answers=(
            Answer(status=200, summary="The batch", shape=shapes.BatchView),
            *REFUSED,
            problem(404, "There is no such batch"),
            UNAVAILABLE,
        ),
    ),
    Route(
        name="events",
        method="GET",
        path="/{id}/events",
        part="jobs",
        summary="Follow a job as server-sent events",
        operation=events,
        parameters=(ID, LAST_EVENT_ID),
        answers=(
            Answer(
                status=200,
                summary="`job` events with the job as JSON, and an `end` event as the last one",
                media_type=EVENTS,
            ),
            *REFUSED,
            UNKNOWN,
            UNAVAILABLE,
        ),
    ),
    Route(
        name="artifacts",
        method="GET",
        path="/{id}/artifacts",
        part="jobs",
        summary="List what a job has saved",
        operation=artifacts.listing,
        parameters=(ID,),
        answers=(
            Answer(status=200, summary="Its artifacts", shape=shapes.ArtifactsView),
            *REFUSED,
            UNKNOWN,
            UNAVAILABLE,
        ),
    ),
    Route(
        name="artifact",
        method="GET",
        path="/{id}/artifacts/{name}",
        part="jobs",
        summary="Read something that a job has saved",
        operation=artifacts.download,
        parameters=(ID, NAME, IF_NONE_MATCH, RANGE),
        answers=(
            Answer(
                status=200,
                summary="Its bytes, with the type that they have",
                media_type=BYTES,
                headers=("ETag",),
            ),
            Answer(status=206, summary="Some of its bytes", media_type=BYTES, headers=("ETag",)),
            Answer(status=302, summary="It is there", headers=("Location",)),
            Answer(status=304, summary="It is what the client has already", headers=("ETag",)),
            *REFUSED,
            problem(404, "There is no such job, or it has saved nothing of that name"),
            problem(416, "It has no such bytes"),
            UNAVAILABLE,
        ),
    ),
    Route(
        name="cancel",
        method="POST",
        path="/{id}/cancel",
        part="jobs",
        summary="Cancel a job; a running one is asked to stop",
        operation=operations.cancel,
        parameters=(ID,),
        answers=MOVED,
    ),
    Route(
        name="retry",
        method="POST",
        path="/{id}/retry",
        part="jobs",
        summary="Run a job again, now, with all its attempts",
        operation=operations.retry,
        parameters=(ID,),
        answers=MOVED,
    ),
)

DRIVE_ALONE = {"/process": "", "/cron": "/cron", "/metrics": "/metrics"}
"""The paths of the drive endpoint where it is mounted alone."""


def by_path(routes: Iterable[Route]) -> dict[str, dict[str, Route]]:
    """The routes of each path, by their methods; fixed paths before `/{id}`."""
    paths: dict[str, dict[str, Route]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = route
    return paths
