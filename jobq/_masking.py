"""Keep secrets out of stored errors and logs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"

_SECRET_NAME = re.compile(r"(?i)(key|token|secret|password|passwd|credential)s?$")
_NAME = (
    r"(?<![\w.-]) [\w.-]* (?:key|token|secret|passwo?r?d|passphrase|pwd|signature|credentials?)"
    r"(?:[_-]?\d{1,3})? \b"
)
_QUOTE = r"\\{0,9}['\"]"
# Between a name and its value; bytes and the like have a letter before their quote.
_IS = rf"(?:{_QUOTE})? \s* (?:=>|[=:]) \s* (?:[bru]{{1,2}} (?=['\"]))?"
# Up to the closing quote, which is spelled like the opening one: JSON inside of JSON has \".
_QUOTED = r"(['\"]) (?:\\. | (?!\2) [^\\])+ | (\\{1,9}['\"]) (?: (?! (?<!\\) \3) .)+"
_WORD_END = rf"(?! {_QUOTE})"

_ASSIGNMENT = re.compile(
    rf"""(?isx) ({_NAME} {_IS}) (?: {_QUOTED} | (?: {_WORD_END} [^\s'",;&)}}\]] )+ )"""
)
_AUTHORIZATION = re.compile(
    rf"""(?isx) (\b authorization \b {_IS})
        (?: {_QUOTED}
        | (?:digest|aws4-hmac-sha256) [ ] [^\r\n]+
        | (?: (?:bearer|basic|token|apikey) \s+ | [a-z][\w-]* [ ]+ )?
          (?: {_WORD_END} [^\s'",;] )+ )"""
)
_PAIR = re.compile(
    rf"""(?isx) ([(\[] \s* b? {_QUOTE} (?: {_NAME} | [\w-]* authorization) {_QUOTE} \s* , \s*
        (?:[bru]{{1,2}} (?=['\"]))?) (?: {_QUOTED} )"""
)
_SPACE = r"(?: %(?:25)*20 | \+ )*"
# Encoded as often as the sign between name and value: up to the quote, or to what ends a value.
_IN_URL = re.compile(
    rf"""(?ix) ((?: {_NAME} | authorization) (?: %(?:25)*2[27] )? {_SPACE}
        %((?:25)*)3[ad] {_SPACE} (%\2 2[27])?)
        (?: (?(3) (?! (?<!%5c) \3) | (?! %\2 (?: 2[267c] | 7d | 0[ad]) )) [^\s&'"<>] )+"""
)
_BEARER = re.compile(
    r"(?i)\b(bearer(?:\s|%20)+)(?:(?=[a-z_.~+/=-]*\d)[\w.~+/=-]{6,}|[\w.~+/=-]{20,})"
)
_PRIVATE_KEY = re.compile(
    r"(?s)(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----).*?(?=-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s]+)@")
_DSN_PASSWORD = re.compile(r"(?i)((?:postgres(?:ql)?|mysql)(?:\+\w+)?://[^/\s:@]*):\S{1,300}@")
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*")
_CONNINFO = re.compile(r"(?is)password\s*=\s*(?:'((?:\\.|[^'\\])*)|(\S+))")

_known: set[str] = set()
_pattern: re.Pattern[str] | None = None


def hide(secrets: Iterable[str | None]) -> None:
    """Remember values that must never be shown. Very short ones would mask ordinary words."""
    global _pattern  # noqa: PLW0603  one register for the process
    fresh = {
        spelled
        for secret in secrets
        if secret and len(secret) >= 6
        for spelled in _spellings(secret)
    }
    if not fresh <= _known:
        _known.update(fresh)
        longest_first = sorted(_known, key=len, reverse=True)
        _pattern = re.compile("|".join(map(re.escape, longest_first)))


def _spellings(secret: str) -> set[str]:
    """A secret as it may stand in a URL, in JSON, and in what `repr` shows."""
    spelled = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    spelled |= {repr(secret)[1:-1], repr(secret + "'")[1:-2]}
    for encode in (quote, quote_plus):
        encoded = encode(secret, safe="", errors="replace")
        spelled |= {encoded, re.sub("%..", lambda code: code[0].lower(), encoded)}
    return spelled


def hide_dsn(url: str) -> None:
    """Remember the secrets of a database URL, as written and decoded."""
    written = {*_secrets_of(url)}
    hide(written | {*map(unquote, written)} | {*map(unquote_plus, written)})


def _secrets_of(url: str) -> Iterator[str]:
    """Whatever may be a secret in a URL or connection string, however malformed that is."""
    rest = url.partition("://")[2]
    for place in (rest, re.split("[/?#]", rest, maxsplit=1)[0]):
        yield place.rpartition("@")[0].partition(":")[2]
    for option in rest.partition("?")[2].split("&"):
        name, _, value = option.partition("=")
        if _SECRET_NAME.search(unquote(name)):
            yield value
    for quoted, plain in _CONNINFO.findall(url):
        yield plain or re.sub(r"\\(.)", r"\1", quoted)


def hide_environment() -> None:
    """Remember the values of environment variables that are named like secrets."""
    hide(value for name, value in os.environ.items() if _SECRET_NAME.search(name))
    hide_dsn(os.environ.get("DATABASE_URL", ""))
    hide_dsn(os.environ.get("JOBQ_DATABASE_URL", ""))


def shown_url(url: str) -> str:
    """A database URL without its secrets, however short they are and however malformed it is.

    >>> shown_url("postgresql://ada:pw@host/jobs?sslpassword=x")
    'postgresql://ada:***@host/jobs?sslpassword=***'
    """
    scheme, mark, rest = url.partition("://")
    if not mark or not _SCHEME.fullmatch(scheme):
        return MASK if "@" in url or "password" in url.lower() else mask(url)
    is_path = scheme == "sqlite" and rest.startswith("/")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if not is_path and rest.rfind("@") > len(authority):  # a password that nobody escaped
        return f"{scheme}://{MASK}"
    place, question, query = rest.partition("?")
    user, at, host = ("", "", place) if is_path else place.rpartition("@")
    name, colon, _ = user.partition(":")
    hidden = f"{name}{colon}{MASK if colon else ''}"
    options = "&".join(map(_shown_option, query.split("&")))
    return mask(f"{scheme}://{hidden}{at}{host}{question}{options}")


def _shown_option(option: str) -> str:
    name, equals, _ = option.partition("=")
    return f"{name}{equals}{MASK}" if _SECRET_NAME.search(unquote(name)) else option


def unquoted(reason: str, shown: str) -> str:
    """What a library says about a malformed URL, without what it quotes and is not shown anyway.

    >>> unquoted("invalid percent-encoded token: 'p%zz'", "postgresql://ada:***@host/jobs")
    "invalid percent-encoded token: '…'"
    """

    def quoted(part: re.Match[str]) -> str:
        return part[0] if part[2] in shown else f"{part[1]}…{part[1]}"

    return re.sub(r"""(?s)(['"])(.*)\1""", quoted, reason.strip())


def mask(text: str) -> str:
    """The text without known secrets, and without the values of `key=`, `token=` and the like.

    >>> mask("GET /v1?api_key=abc123 failed, Authorization: Bearer xyz")
    'GET /v1?api_key=*** failed, Authorization: ***'
    """
    if _pattern is not None:
        text = _pattern.sub(MASK, text)
    text = _PRIVATE_KEY.sub(rf"\1{MASK}", text)
    text = _DSN_PASSWORD.sub(rf"\1:{MASK}@", text)
    text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    text = _AUTHORIZATION.sub(rf"\1\2\3{MASK}", text)
    text = _PAIR.sub(rf"\1\2\3{MASK}", text)
    text = _IN_URL.sub(rf"\1{MASK}", text)
    text = _ASSIGNMENT.sub(rf"\1\2\3{MASK}", text)
    return _BEARER.sub(rf"\1{MASK}", text)
