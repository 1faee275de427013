"""An images endpoint in OpenAI's manner."""

from __future__ import annotations

import base64
import math
from typing import Any

from examples.fakegemini.apis import Context, bearer
from examples.fakegemini.calls import Call, Made, RefusedError, bad_request
from examples.fakegemini.limits import Quota
from examples.fakegemini.outcomes import Outcome
from examples.fakegemini.wire import Request, Response

_ERRORS: dict[Outcome, tuple[int, str, str | None]] = {
    Outcome.BAD_KEY: (401, "invalid_request_error", "invalid_api_key"),
    Outcome.FORBIDDEN: (403, "invalid_request_error", None),
    Outcome.BAD_REQUEST: (400, "invalid_request_error", None),
    Outcome.NOT_FOUND: (404, "invalid_request_error", None),
    Outcome.NO_CREDIT: (429, "insufficient_quota", "insufficient_quota"),
    Outcome.ERROR: (500, "server_error", None),
    Outcome.OVERLOADED: (503, "server_error", None),
    Outcome.REFUSED: (400, "image_generation_user_error", "moderation_blocked"),
}
_NAMES: dict[Quota, tuple[str, str]] = {
    "requests": ("requests", "requests per min (RPM)"),
    "tokens": ("tokens", "tokens per min (TPM)"),
    "day": ("requests", "requests per day (RPD)"),
}
_SCALE = 16
"""Pictures are so much smaller than asked for."""


class Images:
    """`POST /v1/images/generations`."""

    def key(self, request: Request) -> str | None:
        return bearer(request)

    def read(self, request: Request, model: str) -> Call:
        body = request.object()
        prompt, count = body.get("prompt"), body.get("n", 1)
        if not isinstance(prompt, str) or not prompt:
            raise bad_request("prompt must be a text")
        if not isinstance(count, int) or not 1 <= count <= 10:
            raise bad_request("n must be from 1 to 10")
        return Call(
            endpoint="images",
            model=str(body.get("model", "gpt-image-1")),
            prompt=prompt,
            kind="image",
            count=count,
            size=_size(str(body.get("size", "auto"))),
        )

    def reply(self, call: Call, made: Made, context: Context) -> Response:
        if made.outcome is Outcome.REFUSED:
            return _error(Outcome.REFUSED, "The safety system refused this request.", context)
        usage = {
            "input_tokens": made.input_tokens,
            "input_tokens_details": {"text_tokens": made.input_tokens, "image_tokens": 0},
            "output_tokens": made.output_tokens,
            "total_tokens": made.input_tokens + made.output_tokens,
        }
        data = [{"b64_json": base64.b64encode(image).decode()} for image in made.images]
        body = {"created": int(context.now), "data": data, "output_format": "png", "usage": usage}
        return Response.of(200, body, _headers(context))

    def refuse(self, refusal: RefusedError, context: Context) -> Response:
        if refusal.limit is None:
            return _error(refusal.outcome, refusal.message, context)
        type_, name = _NAMES[refusal.limit.quota]
        message = f"Rate limit reached for {context.model} on {name}: Limit {refusal.limit.limit}."
        if refusal.wait is None:
            message = f"Request too large for {context.model} on {name}."
            return _error_body(429, message, type_, "rate_limit_exceeded", _headers(context))
        headers = _headers(context) | {
            "retry-after": str(math.ceil(refusal.wait)),
            "retry-after-ms": str(math.ceil(refusal.wait * 1000)),
        }
        message += f" Please try again in {duration(refusal.wait)}."
        return _error_body(429, message, type_, "rate_limit_exceeded", headers)


def duration(seconds: float) -> str:
    """Seconds as these headers have them: 120ms, 1.5s, 6m0s, 2h0m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    if not minutes:
        return f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}h{minutes}m{int(rest)}s" if hours else f"{minutes}m{int(rest)}s"


def _size(asked: str) -> tuple[int, int]:
    width, _, height = asked.partition("x")
    if asked == "auto":
        return 64, 64
    if not (width.isdecimal() and height.isdecimal()):
        raise bad_request(f"size must be like 1024x1024, not {asked!r}")
    return _scaled(int(width)), _scaled(int(height))


def _scaled(pixels: int) -> int:
    return min(max(pixels // _SCALE, 1), 256)


def _headers(context: Context) -> dict[str, str]:
    headers = {"x-request-id": f"req_{context.number}"}
    for quota, stands in context.standings.items():
        if quota == "day":
            continue
        headers[f"x-ratelimit-limit-{quota}"] = str(stands.limit)
        headers[f"x-ratelimit-remaining-{quota}"] = str(stands.free)
        headers[f"x-ratelimit-reset-{quota}"] = duration(stands.wait)
    return headers


def _error(outcome: Outcome, message: str, context: Context) -> Response:
    status, type_, code = _ERRORS[outcome]
    return _error_body(status, message, type_, code, _headers(context))


def _error_body(
    status: int, message: str, type_: str, code: str | None, headers: dict[str, str]
) -> Response:
    error: dict[str, Any] = {"message": message, "type": type_, "param": None, "code": code}
    return Response.of(status, {"error": error}, headers)
