"""What a worker is told, and what comes in on its port."""

from __future__ import annotations

import asyncio
import math

import pytest

import jobq
from jobq._worker.health import health_server

REQUESTS = [
    b"",
    b"\n\n",
    b"\x00\xff\xfe\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /health HTTP/1.1 and more words\r\n\r\n",
    b"GET " + b"/" * 200_000 + b"\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
    b"POST /health HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n",
    b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
    b"GET /ready?" + b"%00" * 1000 + b" HTTP/1.1\r\n\r\n",
]


async def answer(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("request_", REQUESTS)
async def test_whatever_a_probe_sends_the_next_one_is_answered(request_):
    async with health_server(0, lambda: True) as port:
        first = await answer(port, request_)
        assert first == b"" or first.startswith(b"HTTP/1.1 ")
        assert b"passwd" not in first
        healthy = await answer(port, b"GET /health HTTP/1.1\r\n\r\n")
    assert healthy.endswith(b'{"status":"healthy"}')


@pytest.mark.parametrize("port", [-1, 65_536, 10**30])
async def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(jobq.ConfigurationError, match=f"cannot answer probes on port {port}"):
        async with health_server(port, lambda: True):
            pass


@pytest.mark.parametrize("lease", [math.inf, math.nan, 1e300, 31 * 86400.0, 0, -1])
def test_a_lease_that_no_clock_can_keep_is_refused(sqlite, lease):
    with pytest.raises(jobq.ConfigurationError, match="lease="):
        jobq.Worker(jobq.Queue(sqlite), lease=lease)
