"""Requests and responses as values: what adapters translate from and to."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from attrs import Factory, field, frozen
from msgspec import json

if TYPE_CHECKING:
    from jobq.http.steps import Step

JSON = "application/json"
EVENTS = "text/event-stream"
BYTES = "application/octet-stream"


@frozen(kw_only=True, slots=False)
class Request:
    """What a client sent.

    - `path`: with everything before the mount, as in `/api/jobs/018f…`; `query`: what follows `?`.
    - `headers`: by their names in lower case, decoded as latin-1.
    - `body`: the bytes, or the first `JobsApi.largest_body` + 1 of them.
    - `debug`: whether the app is in development.
    - `user`: what the host has found out about the caller, where it did that beforehand.
    - `native`: the framework's own request, which an app's functions are called with.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = Factory(dict)
    body: bytes = field(default=b"", repr=False)
    debug: bool = False
    user: Any = field(default=None, repr=False)
    native: Any = field(default=None, repr=False, eq=False)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The query's parameters; of several values the last one."""
        return dict(parse_qsl(self.query, keep_blank_values=True, errors="replace"))


@frozen(kw_only=True)
class Response:
    """A whole answer."""

    status: int
    headers: Mapping[str, str] = Factory(dict)
    body: bytes = b""


@frozen(kw_only=True)
class Stream:
    """An answer whose body comes bit by bit: `chunks` yields bytes, and steps to be done."""

    status: int = 200
    headers: Mapping[str, str] = Factory(dict)
    chunks: Generator[Step | bytes, Any, None] = field(repr=False)


def answer(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer. What a job contains is the caller's own: no cache may keep it."""
    usual = {"content-type": JSON, "cache-control": "no-store"}
    return Response(status=status, headers=usual | dict(headers or {}), body=json.encode(content))
