"""Keep secrets out of stored errors and logs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from urllib.parse import parse_qs, unquote, urlsplit

MASK = "***"

_SECRET_NAME = re.compile(r"(?i)(key|token|secret|password|passwd|credential)s?$")
_DSN_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s]+)@")
_AUTHORIZATION = re.compile(
    r"""(?ix) (\bauthorization\b ['"]? \s* [=:] \s* ['"]?)
        (?:[a-z][\w-]*[ ]+)? [^\s'",;]+"""
)
_ASSIGNMENT = re.compile(
    r"""(?isx)
        ((?<![\w.-]) [\w.-]* (?:key|token|secret|password|passwd)\b ['"]? \s* [=:] \s*)
        (?: (['"]) (?:\\. | (?!\2) [^\\])+ | [^\s'",;&)}\]]+ )"""
)

_known: set[str] = set()
_pattern: re.Pattern[str] | None = None


def hide(secrets: Iterable[str | None]) -> None:
    """Remember values that must never be shown. Very short ones would mask ordinary words."""
    global _pattern  # noqa: PLW0603  one register for the process
    fresh = {secret for secret in secrets if secret and len(secret) >= 6}
    if not fresh <= _known:
        _known.update(fresh)
        longest_first = sorted(_known, key=len, reverse=True)
        _pattern = re.compile("|".join(map(re.escape, longest_first)))


def hide_dsn(url: str) -> None:
    """Remember the passwords of a database URL, as written and decoded."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return  # no URL: whoever uses it will say so
    password = parts.password or ""
    hide([password, unquote(password), *parse_qs(parts.query).get("password", [])])


def hide_environment() -> None:
    """Remember the values of environment variables that are named like secrets."""
    hide(value for name, value in os.environ.items() if _SECRET_NAME.search(name))
    hide_dsn(os.environ.get("DATABASE_URL", ""))


def mask(text: str) -> str:
    """The text without known secrets, and without the values of `key=`, `token=` and the like.

    >>> mask("GET /v1?api_key=abc123 failed, Authorization: Bearer xyz")
    'GET /v1?api_key=*** failed, Authorization: ***'
    """
    if _pattern is not None:
        text = _pattern.sub(MASK, text)
    text = _DSN_PASSWORD.sub(rf"\1:{MASK}@", text)
    text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
    return _ASSIGNMENT.sub(rf"\1\2{MASK}", text)
