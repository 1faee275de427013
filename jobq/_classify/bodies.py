"""What the JSON of a provider's answer says, wherever in it that may stand."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from attrs import define, field

from jobq._classify import waits

MOST_VALUES = 2_000
LONGEST_TEXT = 2_000
LARGEST_JSON = 65_536

_CODES = ("error_code", "reason", "code", "status", "error_type", "type")
"""The keys that name a failure, the most telling first."""
_TEXTS = frozenset({"message", "detail", "error", "title", "msg"})
_QUOTAS = frozenset({"quotaid", "quota_id", "quota_limit"})
_QUOTA_VALUES = frozenset({"quotavalue", "quota_value", "quota_limit_value"})
_DELAYS = frozenset({"retrydelay", "retry_delay"})
_WORD = re.compile(r"[A-Za-z][\w.-]{1,79}", re.ASCII)
_SAYS_NOTHING = frozenset({"error", "failed", "none", "null", "unknown_error"})


def word(value: object) -> str | None:
    """A machine's word for a failure, if that is what the value is."""
    if isinstance(value, str) and _WORD.fullmatch(value) and value.lower() not in _SAYS_NOTHING:
        return str(value)
    return None


@define
class Body:
    """What was found in the bodies of one exception."""

    ranked: list[tuple[int, str]] = field(factory=list)
    quotas: list[str] = field(factory=list)
    texts: list[str] = field(factory=list)
    retry_info: list[float] = field(factory=list)
    """The delays of Google's RetryInfo, cut to whole seconds by the server."""
    retry_after: list[float] = field(factory=list)
    no_quota: bool = False
    """Whether a quota of zero was named: there is nothing to wait for."""

    @property
    def codes(self) -> list[str]:
        """The words for the failure, the most telling first."""
        return [code for _, code in sorted(self.ranked, key=lambda one: one[0])]


def read(bodies: Iterable[Any]) -> Body:
    """Look through bodies: dicts, lists, JSON or plain text, in any nesting and of any size."""
    body = Body()
    waiting = deque(("message", one) for one in bodies)
    seen = 0
    while waiting and seen < MOST_VALUES:
        key, value = waiting.popleft()
        seen += 1
        if isinstance(value, bytes | bytearray):
            value = bytes(value[:LARGEST_JSON]).decode(errors="replace")
        if isinstance(value, str):
            value = _parsed(value)
        if key in _DELAYS:
            _delay(body, value)
        elif isinstance(value, dict | list | tuple):
            waiting.extend(islice(_inside(key, value), max(0, MOST_VALUES - len(waiting))))
        else:
            _note(body, key, value)
    return body


def _parsed(text: str) -> Any:
    """JSON inside text, else the text: some libraries keep a body as its message."""
    if not text[:64].lstrip().startswith(("{", "[")) or len(text) > LARGEST_JSON:
        return text
    try:
        return msgspec.json.decode(text.encode(errors="replace"))
    except (msgspec.MsgspecError, RecursionError):
        return text


def _inside(
    key: str, value: dict[Any, Any] | list[Any] | tuple[Any, ...]
) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield name[:40].lower() if isinstance(name, str) else "", one
    else:
        yield from ((key, one) for one in value)


def _note(body: Body, key: str, value: Any) -> None:
    if key in _CODES and (code := word(value)):
        body.ranked.append((_CODES.index(key), code))
    elif key in _TEXTS and isinstance(value, str):
        body.texts.append(value[:LONGEST_TEXT])
    elif key in _QUOTAS and isinstance(value, str):
        body.quotas.append(value[:LONGEST_TEXT])
    elif key in _QUOTA_VALUES and value in ("0", 0):
        body.no_quota = True
    elif key == "retry_after":
        body.retry_after += _seconds(value)
    elif type(value).__module__.startswith("google."):  # a protocol buffer shows its fields
        body.texts.append(str(value)[:LONGEST_TEXT])


def _delay(body: Body, value: Any) -> None:
    if isinstance(value, dict):
        value = value.get("seconds")
    if isinstance(value, str):
        value = value[:64]
        seconds = waits.number(value)
        value = seconds if seconds is not None else waits.duration(value)
    body.retry_info += _seconds(value)


def _seconds(value: Any) -> list[float]:
    """A number of seconds small enough to be a float, if it is one: `nan` equals nothing."""
    if not isinstance(value, int | float) or value != value:  # noqa: PLR0124
        return []
    return [float(max(-waits.LONGEST, min(value, waits.LONGEST)))]
