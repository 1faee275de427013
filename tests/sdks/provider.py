"""A provider on this machine that refuses every request, as the real ones do.

The first part of a request's path names the answer: an SDK whose base URL is
`provider.url("gemini-429")` gets Gemini's 429 whatever it asks for. Besides the answers below there
are `drop` (reads the request, then closes the connection), `cut` (closes it in the middle of the
answer) and `hang` (never answers).
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple


class Answer(NamedTuple):
    status: int
    body: Any
    headers: Mapping[str, str] = MappingProxyType({})


def _google(status: int, name: str, message: str, *details: dict[str, Any]) -> Answer:
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    typed = [{**one, "@type": f"type.googleapis.com/google.rpc.{one['@type']}"} for one in details]
    return Answer(status, {"error": error | ({"details": typed} if typed else {})})


def _quota(quota_id: str, delay: str, message: str = "") -> Answer:
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_requests",
        "quotaId": quota_id,
        "quotaDimensions": {"model": "image-model", "location": "global"},
    }
    return _google(
        429,
        "RESOURCE_EXHAUSTED",
        message or "You exceeded your current quota, please check your plan and billing details.",
        {"@type": "QuotaFailure", "violations": [violation]},
        {"@type": "Help", "links": [{"description": "Learn more about quotas", "url": "about:"}]},
        {"@type": "RetryInfo", "retryDelay": delay},
    )


def _openai(status: int, message: str, type: str, code: str | None, **headers: str) -> Answer:
    error = {"message": message, "type": type, "param": None, "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"error": error}, named)


def _anthropic(status: int, type: str, error_code: str | None = None, **headers: str) -> Answer:
    error: dict[str, Any] = {"type": type, "message": "It was refused."}
    if error_code:
        error["details"] = {"error_code": error_code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"type": "error", "error": error, "request_id": "req_1"}, named)


def _fal(status: int, error_type: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"detail": "It failed.", "error_type": error_type}
    return Answer(status, body, {"X-Fal-Error-Type": error_type, **named})


def _s3(status: int, code: str, message: str) -> Answer:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(status, text, {"Content-Type": "application/xml"})


_PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
_PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
_INVALID_KEY = {
    "@type": "ErrorInfo",
    "reason": "API_KEY_INVALID",
    "domain": "googleapis.com",
    "metadata": {"service": "generativelanguage.googleapis.com"},
}

ANSWERS: dict[str, Answer] = {
    "gemini-429": _quota(_PER_MINUTE, "53s"),
    "gemini-429-day": _quota(_PER_DAY, "21s"),
    "gemini-429-bare": _google(
        429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."
    ),
    "gemini-429-text": _google(
        429, "RESOURCE_EXHAUSTED", "Quota exceeded. Please retry in 27.336342224s."
    ),
    "gemini-429-none": _quota(_PER_DAY, "25s", "Quota exceeded for metric: m, limit: 0, model: i"),
    "gemini-503": _google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "gemini-503-deadline": _google(
        503, "UNAVAILABLE", "Deadline expired before operation could complete."
    ),
    "gemini-500": _google(500, "INTERNAL", "An internal error has occurred."),
    "gemini-400": _google(400, "INVALID_ARGUMENT", "The image is not supported."),
    "gemini-400-key": _google(400, "INVALID_ARGUMENT", "API key not valid.", _INVALID_KEY),
    "gemini-403": _google(403, "PERMISSION_DENIED", "The API is not enabled."),
    "openai-429": _openai(
        429,
        "Rate limit reached on requests per min (RPM): Limit 60, Used 60. Please try again in 20s.",
        "requests",
        "rate_limit_exceeded",
        retry_after="20",
        retry_after_ms="20500",
        x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="20s",
    ),
    "openai-429-text": _openai(
        429,
        "Rate limit reached on tokens per min (TPM). Please try again in 9.816s.",
        "tokens",
        "rate_limit_exceeded",
    ),
    "openai-429-large": _openai(
        429,
        "Request too large on tokens per min (TPM): Limit 30000, Requested 37313.",
        "tokens",
        "rate_limit_exceeded",
    ),
    "openai-429-credit": _openai(
        429, "You exceeded your current quota.", "insufficient_quota", "credit_balance_exhausted"
    ),
    "openai-503": _openai(503, "The engine is currently overloaded.", "server_error", None),
    "openai-500": _openai(500, "The server had an error.", "server_error", None),
    "openai-500-final": _openai(
        500, "The server had an error.", "server_error", None, x_should_retry="false"
    ),
    "openai-401": _openai(
        401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"
    ),
    "openai-400": _openai(
        400, "The prompt was refused.", "image_generation_user_error", "moderation_blocked"
    ),
    "anthropic-429": _anthropic(
        429,
        "rate_limit_error",
        retry_after="30",
        anthropic_ratelimit_requests_limit="50",
        anthropic_ratelimit_requests_remaining="0",
    ),
    "anthropic-429-ramp": _anthropic(
        429, "rate_limit_error", "ramp_limit_exceeded", retry_after="12"
    ),
    "anthropic-429-spend": _anthropic(429, "rate_limit_error", "enforced_spend_limit_reached"),
    "anthropic-402": _anthropic(402, "billing_error"),
    "anthropic-529": _anthropic(529, "overloaded_error"),
    "anthropic-500": _anthropic(500, "api_error"),
    "anthropic-401": _anthropic(401, "authentication_error"),
    "anthropic-400": _anthropic(400, "invalid_request_error"),
    "replicate-429": Answer(
        429,
        {"detail": "Request was throttled. Your rate limit resets in ~30s.", "status": 429},
        {"Retry-After": "30"},
    ),
    "replicate-402": Answer(
        402, {"title": "Insufficient credit", "detail": "Buy credit.", "status": 402}
    ),
    "replicate-401": Answer(
        401, {"title": "Unauthenticated", "detail": "No token.", "status": 401}
    ),
    "replicate-422": Answer(
        422, {"title": "Input validation failed", "detail": "- input: prompt", "status": 422}
    ),
    "replicate-500": Answer(500, {"detail": "Internal server error"}),
    "replicate-503": Answer(503, {"detail": "Service unavailable"}),
    "fal-429": Answer(429, {"detail": "Too many requests"}, {"Retry-After": "7"}),
    "fal-403": Answer(403, {"detail": "User is locked. Reason: Exhausted balance."}),
    "fal-401": Answer(401, {"detail": "No user found for Key ID and Secret"}),
    "fal-422": Answer(
        422,
        {"detail": [{"loc": ["body"], "msg": "refused", "type": "content_policy_violation"}]},
    ),
    "fal-503": _fal(503, "runner_scheduling_failure"),
    "fal-503-lost": _fal(503, "runner_disconnected"),
    "fal-504": _fal(504, "request_timeout", x_fal_request_timeout_type="user"),
    "s3-503": _s3(503, "SlowDown", "Please reduce your request rate."),
    "s3-403": _s3(403, "AccessDenied", "Access Denied"),
    "s3-500": _s3(500, "InternalError", "We encountered an internal error."),
    "s3-400": _s3(400, "ThrottlingException", "Rate exceeded"),
    "dated-429": Answer(
        429,
        {"error": "slow down"},
        {
            "Date": "Mon, 02 Nov 2026 08:00:00 GMT",
            "Retry-After": "Mon, 02 Nov 2026 08:01:30 GMT",
        },
    ),
}


class Provider:
    """The server's address, and how often each answer was asked for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: Counter[str] = Counter()

    def url(self, answer: str) -> str:
        """The base URL at which every request gets this answer."""
        assert answer in ANSWERS or answer in {"drop", "cut", "hang"}, answer
        return f"http://127.0.0.1:{self.port}/{answer}"


async def _serve(
    provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        await _read_body(reader, writer, head.lower())
        name = head.split(" ", 2)[1].lstrip("/").split("/", 1)[0]
        provider.requests[name] += 1
        if name == "hang":
            await reader.read()  # until the client gives up
        elif name == "cut":
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"half')
            await writer.drain()
        elif name in ANSWERS:
            writer.write(_encode(ANSWERS[name]))
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass  # the client left, or the tests are over
    finally:
        writer.close()


async def _read_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
    if "expect: 100-continue" in head:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "transfer-encoding: chunked" in head:
        await reader.readuntil(b"0\r\n\r\n")
    elif "content-length:" in head:
        await reader.readexactly(int(head.split("content-length:", 1)[1].split("\r\n", 1)[0]))


def _encode(answer: Answer) -> bytes:
    text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
    headers = {"Content-Type": "application/json", "Connection": "close", **answer.headers}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    lines = [f"HTTP/1.1 {answer.status} Refused", *lines, f"Content-Length: {len(text)}"]
    return "\r\n".join([*lines, "", text]).encode()


@contextmanager
def running() -> Iterator[Provider]:
    """A provider in a thread of its own, so that synchronous SDKs can be tried too."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="provider")
    thread.start()

    async def start() -> tuple[Provider, asyncio.Server]:
        provider = Provider(0)
        server = await asyncio.start_server(
            lambda reader, writer: _serve(provider, reader, writer), "127.0.0.1", 0
        )
        provider.port = server.sockets[0].getsockname()[1]
        return provider, server

    async def stop(server: asyncio.Server) -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    provider, server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield provider
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
