"""What OpenAPI says about the routes, made from the route table."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from jobq.http import Answer, Route
from jobq.http.messages import BYTES, JSON

HEADERS = {
    "ETag": "The job's version",
    "Location": "Where to ask for the job",
    "Retry-After": "Seconds after which to ask again",
    "WWW-Authenticate": "How to prove oneself",
}


@cache
def schema(shape: Any) -> dict[str, Any]:
    """The JSON schema of a shape that has no other in it."""
    return TypeAdapter(shape).json_schema()


def responses(route: Route) -> dict[int | str, dict[str, Any]]:
    """The answers of a route, in FastAPI's terms."""
    return {answer.status: _response(answer) for answer in route.answers}


def _response(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.summary}
    if answer.headers:
        described["headers"] = {
            name: {"description": HEADERS[name], "schema": {"type": "string"}}
            for name in answer.headers
        }
    if answer.shape is not None and answer.media_type == JSON:
        described["model"] = answer.shape
    elif answer.shape is not None:
        described["content"] = {answer.media_type: {"schema": schema(answer.shape)}}
    elif answer.media_type != JSON:
        text = {"type": "string"} | ({"format": "binary"} if answer.media_type == BYTES else {})
        described["content"] = {answer.media_type: {"schema": text}}
    return described


def described(route: Route, allow: Iterable[str]) -> dict[str, Any]:
    """The parameters and the body of a route."""
    extra: dict[str, Any] = {
        "parameters": [
            {
                "name": parameter.name,
                "in": parameter.where,
                "required": parameter.where == "path",
                "description": parameter.summary,
                "schema": dict(parameter.schema),
            }
            for parameter in route.parameters
        ]
    }
    if route.body is not None:
        content = {"schema": _body(route.body, sorted(allow))}
        extra["requestBody"] = {"required": True, "content": {JSON: content}}
    return extra


def _body(shape: Any, types: list[str]) -> dict[str, Any]:
    """The schema of a new job, with the types that may be created."""
    body = schema(shape)
    instant = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}
    members = body["properties"] | {"scheduledFor": instant}
    if types:
        members["type"] = members["type"] | {"enum": types}
    return body | {"properties": members, "additionalProperties": False}
