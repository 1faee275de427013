"""The route table: what adapters, OpenAPI and the reference are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from attrs import evolve, frozen

from jobq._model import JobStatus
from jobq.http import artifacts, driving, operations, shapes
from jobq.http.events import events
from jobq.http.messages import BYTES, EVENTS, JSON
from jobq.http.operations import AT_MOST, USUAL_PAGE, Call
from jobq.http.reading import LONGEST_KEY, MOST_IDS
from jobq.http.steps import Operation

Part = Literal["jobs", "drive", "probes", "dashboard"]


@frozen(kw_only=True)
class Parameter:
    """A parameter of a query, a header, or a part of the path."""

    name: str
    summary: str
    where: Literal["query", "header", "path"] = "query"
    schema: Mapping[str, Any]


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
        """Whether the caller has to prove himself."""
        return self.part != "probes"


ID = Parameter(
    name="id",
    where="path",
    summary="The job's id",
    schema={"type": "string", "format": "uuid"},
)
NAME = Parameter(
    name="name",
    where="path",
    summary="The artifact's name, or its id",
    schema={"type": "string", "minLength": 1},
)
RANGE = Parameter(
    name="Range",
    where="header",
    summary="Only these bytes, as in `bytes=0-1023`",
    schema={"type": "string"},
)
BATCH_ID = evolve(ID, summary="The batch's id")
WAIT = Parameter(
    name="wait",
    summary=(
        "Seconds to wait until the job has finished or, with `If-None-Match`, until it has changed"
    ),
    schema={"type": "number", "minimum": 0, "maximum": 86400},
)
IF_NONE_MATCH = Parameter(
    name="If-None-Match",
    where="header",
    summary="The `ETag` of what the client has already",
    schema={"type": "string"},
)
LAST_EVENT_ID = Parameter(
    name="Last-Event-ID",
    where="header",
    summary="The last version that the client has seen; browsers send it by themselves",
    schema={"type": "string"},
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    where="header",
    summary="A repeated request with the same key answers with the job that the first one made",
    schema={"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
)
MAX_JOBS = Parameter(
    name="maxJobs",
    summary="How many jobs to begin at most",
    schema={
        "type": "integer",
        "minimum": 1,
        "maximum": driving.MOST_JOBS,
        "default": driving.USUAL_JOBS,
    },
)
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
STATUS = f"({'|'.join(JobStatus)})"
TEXT = {"type": "string", "minLength": 1, "maxLength": 500, "pattern": "^[^\\u0000]+$"}


def several(pattern: str, most: int) -> dict[str, Any]:
    """The schema of values with commas between them."""
    return {"type": "string", "pattern": f"^{pattern}(,{pattern}){{0,{most - 1}}}$"}


FILTERS = (
    Parameter(
        name="ids",
        summary=f"These jobs, separated by commas, up to {MOST_IDS}; they are not paged",
        schema=several(UUID, MOST_IDS),
    ),
    Parameter(
        name="status",
        summary="In one of these statuses, separated by commas",
        schema=several(STATUS, len(JobStatus)),
    ),
    Parameter(name="type", summary="Of this type", schema=TEXT),
    Parameter(name="queue", summary="Of this queue", schema=TEXT),
    Parameter(
        name="owner", summary="Of this owner, where the caller may see everybody's", schema=TEXT
    ),
    Parameter(
        name="limit",
        summary="How many",
        schema={"type": "integer", "minimum": 1, "maximum": AT_MOST, "default": USUAL_PAGE},
    ),
    Parameter(
        name="after",
        summary="Where the page before ended: its `next`",
        schema={"type": "string", "format": "uuid"},
    ),
)


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

DRIVE_ALONE = {"/process": "", "/cron": "/cron"}
"""The paths of the drive endpoint where it is mounted alone."""


def by_path(routes: Iterable[Route]) -> dict[str, dict[str, Route]]:
    """The routes of each path, by their methods; fixed paths before `/{id}`."""
    paths: dict[str, dict[str, Route]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = route
    return paths
