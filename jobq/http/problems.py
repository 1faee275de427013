"""Errors as `application/problem+json` (RFC 9457): which one answers which exception."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from msgspec import json

from jobq._errors import (
    BackendUnavailable,
    BatchNotFound,
    DuplicateJob,
    IllegalMove,
    JobNotFound,
    JobqError,
    OptionError,
    OwnerLimitExceeded,
    PayloadError,
    SchemaError,
    StorageUnavailable,
    UnknownType,
    WebhookError,
)
from jobq.http.messages import Response
from jobq.observe import logger

TYPE = "application/problem+json"
OWNER_AGAIN = 10
"""Seconds after which one who has too many jobs waiting may try again."""
UNAVAILABLE_FOR = 5
"""Seconds after which to ask again, while the database cannot be reached."""


class Problem(Exception):
    """A refusal: `detail` is for people, `code` and the extra members are for machines."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra

    def response(self) -> Response:
        """The answer. `error` repeats the title for clients that look there."""
        title = HTTPStatus(self.status).phrase
        content = {
            "type": f"urn:jobq:problem:{self.code}",
            "title": title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "error": title,
            **self.extra,
        }
        headers = {"content-type": TYPE, "cache-control": "no-store"} | self.headers
        return Response(status=self.status, headers=headers, body=json.encode(content))


def not_found(id: str, what: str = "job") -> Problem:
    """The same words for a job or batch that is unknown, and for one that is hidden."""
    return Problem(404, "not_found", f"there is no {what} {id!r:.100}")


def not_allowed(method: str, methods: Iterable[str], *, looks: bool) -> Problem:
    """Another method is wanted; where GET only `looks`, HEAD is one as well."""
    headers = {"allow": ", ".join(sorted({*methods, *(["HEAD"] if looks else [])}))}
    return Problem(405, "method_not_allowed", f"{method} is not possible here", headers=headers)


def problem_of(error: Exception) -> Problem:
    """What an exception is to a client. Nothing of the inside is told."""
    match error:
        case Problem():
            return error
        case JobqError() if (refusal := _refusal_of(error)) is not None:
            return refusal
        case WebhookError():
            return Problem(401, error.code, str(error))
        case BackendUnavailable():
            logger.warning("the database cannot be reached: %s", error)
            return unavailable("the database cannot be reached; try again")
        case StorageUnavailable():
            logger.warning("artifacts cannot be reached: %s", error)
            return unavailable("what jobs have saved cannot be reached; try again")
        case SchemaError():
            logger.error("%s", error)
            return unavailable("the database's tables are not those that this version needs")
        case _:
            logger.error("a request failed", exc_info=error)
            return Problem(500, "internal", "the server failed; its log says how")


def _refusal_of(error: JobqError) -> Problem | None:
    """What is the client's own doing."""
    match error:
        case JobNotFound():
            return not_found(error.job_id)
        case BatchNotFound():
            return not_found(error.batch_id, "batch")
        case IllegalMove():
            return Problem(409, "illegal_move", str(error), status_now=str(error.status))
        case DuplicateJob():
            return Problem(409, "duplicate", str(error), jobId=error.existing_id)
        case OwnerLimitExceeded():
            again = {"retry-after": str(OWNER_AGAIN)}
            return Problem(429, "owner_limit", str(error), headers=again, limit=error.limit)
        case PayloadError():
            return Problem(422, "invalid_payload", str(error), path=error.path)
        case OptionError() | UnknownType():
            return Problem(422, "invalid_value", str(error))
    return None


def unavailable(detail: str) -> Problem:
    return Problem(503, "unavailable", detail, headers={"retry-after": str(UNAVAILABLE_FOR)})
