"""A messages endpoint in Anthropic's manner."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from examples.fakegemini.apis import Context, bearer
from examples.fakegemini.calls import Call, Made, RefusedError, bad_request, part
from examples.fakegemini.outcomes import Outcome
from examples.fakegemini.wire import Request, Response

_ERRORS: dict[Outcome, tuple[int, str]] = {
    Outcome.BAD_KEY: (401, "authentication_error"),
    Outcome.FORBIDDEN: (403, "permission_error"),
    Outcome.BAD_REQUEST: (400, "invalid_request_error"),
    Outcome.NOT_FOUND: (404, "not_found_error"),
    Outcome.RATE_LIMITED: (429, "rate_limit_error"),
    Outcome.DAY_LIMITED: (429, "rate_limit_error"),
    Outcome.NO_CREDIT: (402, "billing_error"),
    Outcome.ERROR: (500, "api_error"),
    Outcome.OVERLOADED: (529, "overloaded_error"),
}


class Messages:
    """`POST /v1/messages`."""

    def key(self, request: Request) -> str | None:
        return request.headers.get("x-api-key") or bearer(request)

    def read(self, request: Request, model: str) -> Call:
        if "anthropic-version" not in request.headers:
            raise bad_request("anthropic-version: header is required")
        body = request.object()
        for name, type_ in (("model", str), ("max_tokens", int), ("messages", list)):
            if not isinstance(body.get(name), type_):
                raise bad_request(f"{name}: field required")
        blocks = list(_blocks(body["messages"]))
        tool = part(body, "tool_choice").get("name")
        return Call(
            endpoint="messages",
            model=body["model"],
            prompt="\n".join(block["text"] for block in blocks if block.get("type") == "text"),
            kind="text",
            pictures=sum(1 for block in blocks if block.get("type") == "image"),
            schema=_schema(body, tool) if tool else None,
            tool=tool,
        )

    def reply(self, call: Call, made: Made, context: Context) -> Response:
        message = {
            "id": f"msg_{context.number}",
            "type": "message",
            "role": "assistant",
            "model": call.model,
            "content": _content(call, made, context.number),
            "stop_reason": _stop_reason(call, made),
            "stop_sequence": None,
            "usage": {"input_tokens": made.input_tokens, "output_tokens": made.output_tokens},
        }
        return Response.of(200, message, _headers(context))

    def refuse(self, refusal: RefusedError, context: Context) -> Response:
        status, type_ = _ERRORS[refusal.outcome]
        headers = _headers(context)
        if refusal.wait is not None:
            headers["retry-after"] = str(math.ceil(refusal.wait))
        error = {"type": type_, "message": refusal.message}
        body = {"type": "error", "error": error, "request_id": headers["request-id"]}
        return Response.of(status, body, headers)


def _blocks(messages: list[Any]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            yield {"type": "text", "text": content}
        elif isinstance(content, list) and all(isinstance(block, dict) for block in content):
            yield from content
        else:
            raise bad_request("messages: content must be a text or a list of blocks")


def _schema(body: Mapping[str, Any], tool: str) -> Mapping[str, Any]:
    for one in body.get("tools") or []:
        if isinstance(one, dict) and one.get("name") == tool:
            return one.get("input_schema") or {"type": "object"}
    raise bad_request(f"tool_choice: there is no tool {tool!r}")


def _content(call: Call, made: Made, number: int) -> list[dict[str, Any]]:
    if made.outcome is Outcome.REFUSED:
        return []
    if call.tool:
        used = {"type": "tool_use", "id": f"toolu_{number}", "name": call.tool}
        return [used | {"input": json.loads(made.text or "{}")}]
    return [{"type": "text", "text": made.text}]


def _stop_reason(call: Call, made: Made) -> str:
    if made.outcome is Outcome.REFUSED:
        return "refusal"
    return "tool_use" if call.tool else "end_turn"


def _headers(context: Context) -> dict[str, str]:
    headers = {"request-id": f"req_{context.number}"}
    for quota, stands in context.standings.items():
        if quota == "day":
            continue
        reset = datetime.fromtimestamp(context.now + stands.wait, UTC)
        headers[f"anthropic-ratelimit-{quota}-limit"] = str(stands.limit)
        headers[f"anthropic-ratelimit-{quota}-remaining"] = str(stands.free)
        headers[f"anthropic-ratelimit-{quota}-reset"] = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
    return headers
