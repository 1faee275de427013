"""Read what a client sent: every refusal names the value and what it should be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from jobq._checks import priority_number
from jobq._clock import from_datetime
from jobq._errors import OptionError
from jobq._model import job_id
from jobq.http.messages import Request
from jobq.http.problems import Problem, not_found

MOST_IDS = 100
LONGEST_KEY = 200
_decode = msgspec.json.Decoder().decode


def invalid(detail: str) -> Problem:
    return Problem(422, "invalid_value", detail)


def id_of(text: str, what: str = "job") -> str:
    """The id of a path. What is no id belongs to no job, and to no batch."""
    try:
        return job_id(text)
    except OptionError:
        raise not_found(text, what) from None


def ids_of(request: Request) -> list[str] | None:
    """The job ids of a query, separated by commas."""
    text = request.parameters.get("ids")
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_IDS:
        raise invalid(f"ids names {len(parts)} jobs; {MOST_IDS} at a time are allowed")
    return [_id(part, "ids") for part in parts]


def _id(text: str, name: str) -> str:
    try:
        return job_id(text)
    except OptionError:
        raise invalid(f"{name}={text!r:.100} is not a job id (a UUID)") from None


def uuid_of(request: Request, name: str) -> str | None:
    """An id of a query, such as the one that the page before ended with."""
    text = request.parameters.get(name)
    return None if text is None else _id(text, name)


def whole(request: Request, name: str, *, default: int, least: int, most: int) -> int:
    """A whole number of a query."""
    text = request.parameters.get(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not least <= number <= most:
        raise invalid(f"{name}={text!r:.100} must be a whole number from {least} to {most}")
    return number


def wait_of(request: Request) -> float | None:
    """How long the client would wait for news, in seconds: `?wait=20` or `Prefer: wait=20`.

    A preference that is not understood is none (RFC 7240, 2).
    """
    text = request.parameters.get("wait")
    if text is None:
        found = _PREFERS.search(request.headers.get("prefer", ""))
        return None if found is None else float(found[1])
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise invalid(f"wait={text!r:.100} must be a number of seconds")
    return seconds


_PREFERS = re.compile(r"""(?i)(?:^|,)\s*wait\s*=\s*"?(\d{1,5}(?:\.\d{1,9})?)"?\s*(?=$|[,;])""")


def is_known(etag: str, request: Request) -> bool:
    """Whether the client has this version already, as `If-None-Match` says."""
    known = request.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


def check_size(request: Request, *, largest: int) -> None:
    if len(request.body) > largest or _announced(request.headers) > largest:
        raise Problem(413, "too_large", f"the body may have no more than {largest} bytes")


def json_of(request: Request, *, largest: int) -> Any:
    """Any JSON in a request's body, whatever it is said to be; an empty one is null."""
    check_size(request, largest=largest)
    if len(request.body) < _announced(request.headers):
        raise Problem(400, "malformed", "the body ends before the length that was announced")
    return parsed(request.body) if request.body else None


def body_of(request: Request, *, largest: int) -> dict[str, Any]:
    """The JSON object in a request's body."""
    check_size(request, largest=largest)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, "not_json", f"send application/json, not {kind or 'nothing'!r:.100}")
    content = parsed(request.body)
    if not isinstance(content, dict):
        raise invalid('the body must be a JSON object, as in {"type": "…", "payload": {}}')
    return content


def parsed(body: bytes) -> Any:
    """The JSON of a body."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Problem(400, "malformed", f"the body is not JSON: {error}") from None
    except RecursionError:
        raise Problem(400, "malformed", "the body is nested too deeply") from None


def _announced(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def known_members(content: Mapping[str, Any], names: frozenset[str]) -> None:
    """Refuse a member that means nothing: it may be a misspelt one."""
    for name in content:
        if name not in names:
            raise invalid(f"{name!r:.100} is not known here; known are {', '.join(sorted(names))}")


def priority_of(content: Mapping[str, Any]) -> int | None:
    value = content.get("priority")
    return None if value is None else priority_number(value)


def instant_of(content: Mapping[str, Any], name: str) -> datetime | None:
    """An instant that was given as ISO 8601 with an offset."""
    value = content.get(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise invalid(f"{name}={value!r:.100} must be an instant as 2026-01-31T12:00:00Z") from None
    if moment.utcoffset() is None:
        raise invalid(f"{name}={value!r:.100} has no offset: end it with Z or with +01:00")
    try:
        from_datetime(moment, name=name)
    except OptionError:
        raise invalid(f"{name}={value!r:.100} is not within the years 1 to 9999 in UTC") from None
    return moment


def idempotency_key(request: Request) -> str | None:
    """The key by which a repeated request is recognised."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
        raise Problem(
            400,
            "invalid_header",
            f"Idempotency-Key must have 1 to {LONGEST_KEY} printable letters",
        )
    return key
