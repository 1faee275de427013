"""The parameters of routes: what queries, headers and paths may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import evolve, frozen

from jobq._model import JobStatus
from jobq.http import driving
from jobq.http.operations import AT_MOST, USUAL_PAGE
from jobq.http.reading import LONGEST_KEY, MOST_IDS


@frozen(kw_only=True)
class Parameter:
    """A parameter of a query, a header, or a part of the path."""

    name: str
    summary: str
    where: Literal["query", "header", "path"] = "query"
    schema: Mapping[str, Any]


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
TOKEN = Parameter(
    name="id",
    where="path",
    summary="The hook's token",
    schema={"type": "string", "minLength": 1, "maxLength": 200},
)
PROVIDER = Parameter(
    name="id",
    where="path",
    summary="The provider's name, as in `webhooks={…}`",
    schema={"type": "string", "minLength": 1, "maxLength": 50},
)
SIGNED = tuple(
    Parameter(name=name, where="header", summary=summary, schema={"type": "string"})
    for name, summary in (
        ("webhook-id", "The event's id"),
        ("webhook-timestamp", "When it was sent, in seconds since 1970"),
        ("webhook-signature", "Its signatures"),
    )
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
        name="batch",
        summary="Of this batch",
        schema={"type": "string", "format": "uuid"},
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
