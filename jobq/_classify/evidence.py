"""What one exception carries of a provider's answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from attrs import field, frozen

from jobq._classify import bodies
from jobq._classify.chain import peek, stored

_STATUSES = ("status_code", "http_status", "status", "code")
_WORDS = ("error_code", "code", "status", "error_type", "type")
_MOST_HEADERS = 200
_LONGEST_TEXT = 32_768


@frozen(kw_only=True)
class Evidence:
    """A provider's answer, as far as it could be read off an exception."""

    status: int | None = None
    codes: tuple[str, ...] = ()
    """The provider's words for the failure, the most telling first."""
    headers: Mapping[str, str] = field(factory=dict)
    """By lower-case name."""
    text: str = ""
    quotas: tuple[str, ...] = ()
    no_quota: bool = False
    retry_info: tuple[float, ...] = ()
    retry_after: tuple[float, ...] = ()

    def joined(self, other: Evidence) -> Evidence:
        """Both together, where a library wrapped an exception in another."""
        return Evidence(
            status=self.status,
            codes=self.codes + other.codes,
            headers={**other.headers, **self.headers},
            text=f"{self.text}\n{other.text}"[:_LONGEST_TEXT],
            quotas=self.quotas + other.quotas,
            no_quota=self.no_quota or other.no_quota,
            retry_info=self.retry_info + other.retry_info,
            retry_after=self.retry_after + other.retry_after,
        )


def read(exception: BaseException) -> Evidence:
    """Everything that an exception tells of an answer; empty if it tells nothing."""
    response = peek(exception, "response")
    body = bodies.read(_bodies(exception, response))
    headers = _headers(exception, response)
    status = _status(exception, response)
    if status is None:  # then `code` and `status` may be anybody's
        words = [_rpc_code(exception)]
    else:
        words = [bodies.word(stored(exception, name)) for name in _WORDS]
        words.append(bodies.word(headers.get("x-fal-error-type")))
    return Evidence(
        status=status,
        codes=tuple(dict.fromkeys([*body.codes, *filter(None, words)])),
        headers=headers,
        text="\n".join(body.texts[:16]),
        quotas=tuple(body.quotas),
        no_quota=body.no_quota,
        retry_info=tuple(body.retry_info),
        retry_after=tuple(body.retry_after),
    )


def _status(exception: BaseException, response: Any) -> int | None:
    if isinstance(response, dict):
        metadata = response.get("ResponseMetadata")
        status = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
        return _http_status(status)
    for thing in (exception, response):
        for name in _STATUSES:
            status = _http_status(peek(thing, name))
            if status is not None:
                return status
    return None


def _http_status(value: Any) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and 200 <= value <= 599:
        return int(value)
    return None


def _rpc_code(exception: BaseException) -> str | None:
    """The name of gRPC's status, which is asked for by a method."""
    ask = peek(exception, "code")
    try:
        return bodies.word(peek(ask(), "name")) if callable(ask) else None
    except Exception:  # noqa: BLE001  then it is no gRPC error
        return None


def _headers(exception: BaseException, response: Any) -> dict[str, str]:
    if isinstance(response, dict):
        metadata = response.get("ResponseMetadata")
        sources = [metadata.get("HTTPHeaders") if isinstance(metadata, dict) else None]
    else:
        sources = [
            peek(exception, "headers"),
            peek(exception, "response_headers"),
            peek(response, "headers"),
        ]
    found: dict[str, str] = {}
    for source in sources:
        for name, value in pairs(source):
            found.setdefault(name, value)
    return found


def pairs(source: Any) -> Iterator[tuple[str, str]]:
    """Headers by lower-case name, of whatever an SDK keeps them in."""
    items = peek(source, "items")
    try:
        found = list(islice(items() if callable(items) else source or (), _MOST_HEADERS))
    except Exception:  # noqa: BLE001  then there is nothing to read
        return
    for pair in found:
        if isinstance(pair, tuple | list) and len(pair) == 2:
            name, value = _header(pair[0]), _header(pair[1])
            if name is not None and value is not None:
                yield name.lower(), value


def _header(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value[:200].decode("latin-1")
    if isinstance(value, str):
        return str(value[:200])
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**30):
        return str(value)
    return None


def _bodies(exception: BaseException, response: Any) -> Iterator[Any]:
    """Wherever an SDK keeps the body. Nothing is read from a connection."""
    for name in ("body", "details", "detail"):
        value = peek(exception, name)
        yield from _rpc_details(value) if callable(value) else (value,)
    if isinstance(response, dict):
        yield response.get("Error")
    else:
        yield stored(response, "_content")  # httpx, httpx2, requests, once it was read
        yield stored(response, "_body")  # aiohttp
    yield stored(exception, "message")
    arguments = peek(exception, "args")
    if isinstance(arguments, tuple):
        yield from (one for one in arguments[:4] if isinstance(one, str))


def _rpc_details(ask: Any) -> Iterator[str]:
    try:
        text = ask()
    except Exception:  # noqa: BLE001  then it says nothing
        return
    if isinstance(text, str):
        yield text
