"""`GET /health` and `GET /ready` for platforms that probe, on `PORT`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from jobq import backends
from jobq._config import Config
from jobq._errors import ConfigurationError, JobqError
from jobq._payload import dumps
from jobq._stat_verbs import gauges
from jobq._steps import run_async
from jobq.observe import logger

_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


async def exposition(config: Config, store: backends.AsyncStore) -> tuple[str, bytes] | None:
    """What the observers of a queue tell a scraper, if one of them does."""
    if not config.observers.have("exposition"):
        return None
    return config.observers.exposition(await run_async(gauges(config), store))


async def _nothing() -> None:
    """Nobody tells metrics."""


Answer = tuple[int, str, bytes]
"""A status, a content type and a body."""


def _told(status: int, text: str) -> Answer:
    return status, "application/json", dumps({"status": text}).encode()


async def _metrics(metrics: Callable[[], Awaitable[tuple[str, bytes] | None]]) -> Answer:
    try:
        told = await metrics()
    except JobqError as error:
        logger.warning("cannot tell metrics: %s", error)
        return _told(503, "the database cannot be reached")
    return _told(404, "not found") if told is None else (200, *told)


@asynccontextmanager
async def health_server(
    port: int,
    ready: Callable[[], bool],
    metrics: Callable[[], Awaitable[tuple[str, bytes] | None]] = _nothing,
) -> AsyncIterator[int]:
    """Answer probes while the block runs; yields the port (a free one for 0).

    `/health` answers as long as the event loop runs, whatever the database does: a restart would
    not mend that. `/ready` answers 503 while the worker starts or shuts down, `/metrics` 404 where
    no observer tells any.
    """

    async def answer(method: str, path: str) -> Answer:
        if path not in ("/health", "/ready", "/metrics"):
            return _told(404, "not found")
        if method not in ("GET", "HEAD"):
            return _told(405, "method not allowed")
        if path == "/metrics":
            return await _metrics(metrics)
        if path == "/ready" and not ready():
            return _told(503, "not ready")
        return _told(200, "healthy" if path == "/health" else "ready")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                request = (await reader.readline()).decode("latin-1").split()
                while (await reader.readline()).strip():
                    pass
            method, path = (*request, "", "")[:2]
            status, kind, content = await answer(method, path.partition("?")[0])
            head = (
                f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + (b"" if method == "HEAD" else content))
            await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(serve, "0.0.0.0", port)  # noqa: S104  probes come from outside
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"cannot answer probes on port {port}: {error}") from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
