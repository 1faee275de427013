"""`GET /health` and `GET /ready` for platforms that probe, on `PORT`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from jobq._errors import ConfigurationError
from jobq._payload import dumps

_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@asynccontextmanager
async def health_server(port: int, ready: Callable[[], bool]) -> AsyncIterator[int]:
    """Answer probes while the block runs; yields the port (a free one for 0).

    `/health` answers as long as the event loop runs, whatever the database does: a restart would
    not mend that. `/ready` answers 503 while the worker starts or shuts down.
    """

    def answer(method: str, path: str) -> tuple[int, dict[str, str]]:
        if path not in ("/health", "/ready"):
            return 404, {"status": "not found"}
        if method not in ("GET", "HEAD"):
            return 405, {"status": "method not allowed"}
        if path == "/ready" and not ready():
            return 503, {"status": "not ready"}
        return 200, {"status": "healthy" if path == "/health" else "ready"}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                request = (await reader.readline()).decode("latin-1").split()
                while (await reader.readline()).strip():
                    pass
            method, path = (*request, "", "")[:2]
            status, body = answer(method, path.partition("?")[0])
            content = dumps(body).encode()
            head = (
                f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
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
