"""A provider of its own making: it counts requests in a sliding log and refuses what is too much.

It knows nothing of jobq. `GET /call` is answered 429 where the last `per` seconds hold `n` requests
already. `GET /storm/KIND` is answered 429 for some seconds from the first request on, with a
Retry-After of that kind; `huge` stands for a provider that says nonsense.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

KINDS = ("seconds", "date", "missing", "negative", "huge")
Note = Callable[..., None]


class SlidingLog:
    """At most `n` requests in any `per` seconds, by the arrival of those that were let in."""

    def __init__(self, n: int, per: float) -> None:
        self._n = n
        self._per = per
        self._log: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Seconds until a request would be let in; it is entered in the log if that is now."""
        while self._log and self._log[0] <= now - self._per:
            self._log.popleft()
        if len(self._log) >= self._n:
            return self._log[0] + self._per - now
        self._log.append(now)
        return 0.0


class Provider:
    """A server on this machine; `note` is told of every request."""

    def __init__(self, note: Note, *, n: int, per: float, storm: float, latency: float) -> None:
        self._note = note
        self._log = SlidingLog(n, per)
        self._storm = storm
        self._latency = latency
        self._storms: dict[str, float] = {}

    async def serve(self, ready: Callable[[int], None]) -> None:
        """Answer requests until cancelled; `ready` is told the port."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1000)
        ready(server.sockets[0].getsockname()[1])
        async with server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, headers = self._answer(head.split(" ", 2)[1])
            await asyncio.sleep(random.uniform(0, self._latency))
            lines = [f"HTTP/1.1 {status} Answer", "Content-Length: 0", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()

    def _answer(self, path: str) -> tuple[int, dict[str, str]]:
        now, at = time.time(), time.time_ns()
        _, what, *kind = path.split("/")
        if what == "storm":
            return self._stormy(kind[0], now, at)
        wait = self._log.wait(time.monotonic())
        self._note("request", kind=what, ns=at, refused=wait > 0)
        return (429, {"Retry-After": str(int(wait) + 1)}) if wait else (200, {})

    def _stormy(self, kind: str, now: float, at: int) -> tuple[int, dict[str, str]]:
        begun = self._storms.setdefault(kind, now)
        refused = now < begun + self._storm
        headers, until = _retry_after(kind, now) if refused else ({}, None)
        self._note("request", kind=kind, ns=at, refused=refused, until=until)
        return (429 if refused else 200), headers


def _retry_after(kind: str, now: float) -> tuple[dict[str, str], float | None]:
    """The headers, and until when they ask to wait, where that makes sense."""
    match kind:
        case "seconds":
            return {"Retry-After": "2"}, now + 2
        case "date":
            until = float(int(now) + 3)
            dated = {"Date": formatdate(now, usegmt=True)}
            return dated | {"Retry-After": formatdate(until, usegmt=True)}, until
        case "negative":
            return {"Retry-After": "-5"}, None
        case "huge":
            return {"Retry-After": "1000000000"}, now + 1_000_000_000
    return {}, None


def run(options: dict[str, Any], note: Note) -> None:
    """Serve until the process ends."""
    provider = Provider(
        note,
        n=options.get("n", 1_000_000),
        per=options.get("per", 1.0),
        storm=options.get("storm", 0.0),
        latency=options.get("latency", 0.03),
    )
    asyncio.run(provider.serve(lambda port: note("ready", port=port)))
