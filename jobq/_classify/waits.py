"""How long a provider asks to wait: headers, durations, dates, sentences."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

SHORTEST, LONGEST = 0.1, 86_400.0

_NUMBER = re.compile(r"[+-]?\d{1,300}(?:\.\d{1,30})?")
_UNITS = (
    (0.001, "milliseconds?|msecs?|ms"),
    (1, "seconds?|secs?|s"),
    (60, "minutes?|mins?|m"),
    (3600, "hours?|hrs?|h"),
    (86_400, "days?|d"),
)
_AMOUNT = r"\d{1,9}(?:\.\d{1,30})?\s?"
_PART = rf"{_AMOUNT}(?:{'|'.join(names for _, names in _UNITS)})(?![a-z])"
_PARTS = tuple(
    (seconds, re.compile(rf"(?i)({_AMOUNT})(?:{names})(?![a-z])")) for seconds, names in _UNITS
)
_SENTENCE = re.compile(rf"(?i)\b(?:retry|again|resets?) (?:in|after) ~?((?:{_PART}\s?)+)")
_RETRY_INFO = re.compile(r"(?i)retry_?delay\W{1,8}(?:seconds\W{1,3})?(\d{1,9}(?:\.\d{1,30})?)")
_REMAINING = re.compile(
    r"(?:x-)?ratelimit-remaining(?:-[\w-]+)?|anthropic-ratelimit-[\w-]+-remaining"
)


def clamped(seconds: float | None) -> float | None:
    """Seconds within what can be waited for: never a hot loop, never more than a day."""
    if seconds is None or math.isnan(seconds):
        return None
    return float(min(max(seconds, SHORTEST), LONGEST))


def number(text: str | None) -> float | None:
    """A plain number, if that is what the text is."""
    return float(text) if text is not None and _NUMBER.fullmatch(text.strip()) else None


def duration(text: str) -> float | None:
    """Seconds in `53s`, `6m0s`, `1m30.5s`, `900ms`, `20 seconds`.

    >>> duration("6m0.5s")
    360.5
    """
    found = [
        float(amount) * seconds for seconds, part in _PARTS for amount in part.findall(text[:200])
    ]
    return sum(found) if found else None


def in_sentences(text: str) -> Iterator[float]:
    """The waits in "Please try again in 20s", "resets in ~30s", "retry after 2 minutes"."""
    for match in _SENTENCE.finditer(text):
        if (seconds := duration(match[1])) is not None:
            yield seconds


def in_retry_info(text: str) -> Iterator[float]:
    """The delays of Google's RetryInfo where a library kept it as text only."""
    yield from (float(match[1]) for match in _RETRY_INFO.finditer(text))


def asked_by_headers(headers: Mapping[str, str], now: float) -> Iterator[float]:
    """The waits of `retry-after-ms` and `retry-after`; a date counts from the answer's own."""
    milliseconds = number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        yield milliseconds / 1000
    seconds = _wait(headers.get("retry-after", ""), _sent_at(headers, now))
    if seconds is not None:
        yield seconds


def nothing_remains(headers: Mapping[str, str]) -> bool:
    """Whether a header says that nothing is left of some limit."""
    return any(True for _ in _used_up(headers))


def resets(headers: Mapping[str, str], now: float) -> Iterator[float]:
    """The seconds until each used-up limit starts again."""
    for name in _used_up(headers):
        text = headers.get(name.replace("remaining", "reset"), "")
        if (seconds := _wait(text, _sent_at(headers, now))) is not None:
            yield seconds


def used_up_for(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds until a limit that a response says is used up starts again; `None` if none is.

    Where the response does not say until when, a minute.
    """
    lower = {str(name).lower(): str(value) for name, value in headers.items()}
    if not nothing_remains(lower):
        return None
    return clamped(max(resets(lower, time.time() if now is None else now), default=60.0))


def _used_up(headers: Mapping[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        if _REMAINING.fullmatch(name):
            left = number(value)
            if left is not None and left <= 0:
                yield name


def _wait(text: str, since: float) -> float | None:
    """A number of seconds, an instant in seconds or milliseconds, a duration or a date."""
    value = number(text)
    if value is None:
        seconds = duration(text)
        return seconds if seconds is not None else _until(text, since)
    if value > 1e11:
        value /= 1000
    return value - since if 1e9 < value < 1e11 else value


def _sent_at(headers: Mapping[str, str], now: float) -> float:
    date = _instant(headers.get("date", ""))
    return now if date is None else date


def _until(text: str, since: float) -> float | None:
    instant = _instant(text)
    return None if instant is None else instant - since


def _instant(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date, or of an ISO 8601 one."""
    from email.utils import parsedate_to_datetime

    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(text[:64].strip())
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return aware.timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None
