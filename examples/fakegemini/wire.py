"""HTTP/1.1, as much of it as clients of providers speak."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

LARGEST_BODY = 50_000_000
_CRLF = b"\r\n"


class MalformedError(Exception):
    """What arrived is no request that this server reads; `status` says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One request, with its body; names of headers in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def object(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            ValueError: it is none.
        """
        found = json.loads(self.body or b"{}")
        if not isinstance(found, dict):
            raise ValueError("the body must be a JSON object")  # noqa: TRY004  as of a bad number
        return found


@dataclass(frozen=True)
class Response:
    """One answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
        """An answer in JSON."""
        typed = {"Content-Type": "application/json; charset=UTF-8", **(headers or {})}
        return cls(status, json.dumps(value).encode(), typed)


class Silence(Enum):
    """Two ways not to answer."""

    HANG = auto()
    """Nothing is sent, and the connection stays open until the client leaves."""
    RESET = auto()
    """The connection is reset."""


Answer = Response | Silence
Handler = Callable[[Request], Awaitable[Answer]]


async def converse(
    handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer the requests of one connection, until it ends."""
    try:
        while await _exchange(handler, reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass  # the client left, or the server stops
    finally:
        writer.close()


async def _exchange(
    handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Answer one request; whether another may follow."""
    try:
        request = await _read(reader, writer)
    except MalformedError as error:
        answer: Answer = Response.of(error.status, {"error": str(error)})
        return await _send(answer, reader, writer, stay=False)
    stay = request.headers.get("connection", "").lower() != "close"
    return await _send(await handler(request), reader, writer, stay=stay)


async def _send(
    answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, stay: bool
) -> bool:
    if answer is Silence.HANG:
        await reader.read()
        return False
    if answer is Silence.RESET:
        _reset(writer)
        return False
    assert isinstance(answer, Response)
    writer.write(_encode(answer, stay=stay))
    await writer.drain()
    return stay


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the client sees a reset: without waiting, and without what is unsent."""
    connected = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _encode(response: Response, *, stay: bool) -> bytes:
    headers = {
        **response.headers,
        "Content-Length": str(len(response.body)),
        "Connection": "keep-alive" if stay else "close",
    }
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    try:
        head = await reader.readuntil(_CRLF * 2)
    except asyncio.LimitOverrunError:
        raise MalformedError(431, "the headers are too large") from None
    method, target, headers = _parse(head.decode("latin-1"))
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    parts = urlsplit(target)
    return Request(
        method=method,
        path=unquote(parts.path),
        query=dict(parse_qsl(parts.query)),
        headers=headers,
        body=await _body(reader, headers),
    )


def _parse(head: str) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise MalformedError(400, "the first line is no HTTP/1.1 request")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedError(400, "a header has no colon")
        headers[name.strip().lower()] = value.strip()
    return words[0], words[1], headers


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _chunks(reader)
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise MalformedError(400, "Content-Length is no number")
    return await reader.readexactly(_allowed(int(length)))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := await _chunk_size(reader):
        _allowed(len(body) + size)
        body += await reader.readexactly(size)
        await reader.readexactly(len(_CRLF))
    while await reader.readuntil(_CRLF) != _CRLF:  # trailers, then the empty line
        pass
    return bytes(body)


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    line = await reader.readuntil(_CRLF)
    try:
        return int(line.split(b";")[0], 16)
    except ValueError:
        raise MalformedError(400, "a chunk has no size") from None


def _allowed(size: int) -> int:
    if size > LARGEST_BODY:
        raise MalformedError(413, f"the body is larger than {LARGEST_BODY} bytes")
    return size
