"""The Gemini API: texts, images in the answer, videos by operations."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from examples.fakegemini.apis import Context
from examples.fakegemini.calls import Call, Made, RefusedError, bad_request, part
from examples.fakegemini.limits import Quota, Standing
from examples.fakegemini.operations import Operation
from examples.fakegemini.outcomes import Outcome
from examples.fakegemini.wire import Request, Response

_STATUS: dict[Outcome, tuple[int, str]] = {
    Outcome.BAD_KEY: (400, "INVALID_ARGUMENT"),
    Outcome.FORBIDDEN: (403, "PERMISSION_DENIED"),
    Outcome.BAD_REQUEST: (400, "INVALID_ARGUMENT"),
    Outcome.NOT_FOUND: (404, "NOT_FOUND"),
    Outcome.RATE_LIMITED: (429, "RESOURCE_EXHAUSTED"),
    Outcome.DAY_LIMITED: (429, "RESOURCE_EXHAUSTED"),
    Outcome.NO_CREDIT: (429, "RESOURCE_EXHAUSTED"),
    Outcome.ERROR: (500, "INTERNAL"),
    Outcome.OVERLOADED: (503, "UNAVAILABLE"),
}
_QUOTAS: dict[Quota, tuple[str, str]] = {
    "requests": (
        "generate_content_free_tier_requests",
        "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    ),
    "tokens": (
        "generate_content_free_tier_input_token_count",
        "GenerateContentInputTokensPerModelPerMinute-FreeTier",
    ),
    "day": (
        "generate_content_free_tier_requests",
        "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    ),
}
_SHAPES = {"1:1": (64, 64), "16:9": (96, 54), "9:16": (54, 96), "4:3": (80, 60), "3:4": (60, 80)}
_CANCELLED = 1
_INTERNAL = 13


class Gemini:
    """`:generateContent` and `:predictLongRunning`."""

    def key(self, request: Request) -> str | None:
        return request.headers.get("x-goog-api-key") or request.query.get("key")

    def read(self, request: Request, model: str) -> Call:
        body = request.object()
        return _video(body, model) if "instances" in body else _content(body, model)

    def reply(self, call: Call, made: Made, context: Context) -> Response:
        if made.operation:
            return Response.of(200, {"name": made.operation})
        candidate: dict[str, Any] = {"finishReason": _finish_reason(call, made), "index": 0}
        if parts := list(_parts(made)):
            candidate["content"] = {"role": "model", "parts": parts}
        usage = {
            "promptTokenCount": made.input_tokens,
            "candidatesTokenCount": made.output_tokens,
            "totalTokenCount": made.input_tokens + made.output_tokens,
        }
        return Response.of(
            200,
            {
                "candidates": [candidate],
                "usageMetadata": usage,
                "modelVersion": call.model,
                "responseId": f"response-{context.number}",
            },
        )

    def refuse(self, refusal: RefusedError, context: Context) -> Response:
        status, name = _STATUS[refusal.outcome]
        error: dict[str, Any] = {"code": status, "message": refusal.message, "status": name}
        if refusal.outcome is Outcome.BAD_KEY:
            error["details"] = [_detail("ErrorInfo", reason="API_KEY_INVALID")]
        if refusal.limit:
            shown = _seconds_shown(refusal)
            error["details"] = _limit_details(refusal.limit, context.model, shown)
            error["message"] = _limit_message(refusal.limit, context.model, shown)
        return Response.of(status, {"error": error})


def operation_body(operation: Operation, now: float, base: str) -> dict[str, Any]:
    """How an operation stands, as asking for it tells; `base` is the address of the files."""
    if not operation.done(now):
        return {"name": operation.name, "metadata": _times(operation)}
    done = {"name": operation.name, "done": True, "metadata": _times(operation)}
    if operation.outcome is Outcome.CANCELLED:
        return done | {"error": {"code": _CANCELLED, "message": "The operation was cancelled."}}
    if operation.outcome is Outcome.FAILED_LATER:
        message = "Video generation failed due to an internal server issue."
        return done | {"error": {"code": _INTERNAL, "message": message}}
    return done | {"response": _video_response(operation, base)}


def _video_response(operation: Operation, base: str) -> dict[str, Any]:
    type_ = "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse"
    if operation.outcome is Outcome.REFUSED:
        filtered = {
            "raiMediaFilteredCount": operation.count,
            "raiMediaFilteredReasons": ["The prompt goes against the safety rules."],
        }
        return {"@type": type_, "generateVideoResponse": filtered}
    samples = [
        {"video": {"uri": f"{base}/files/{operation.file}v{n}:download?alt=media"}}
        for n in range(operation.count)
    ]
    return {"@type": type_, "generateVideoResponse": {"generatedSamples": samples}}


def _times(operation: Operation) -> dict[str, str]:
    return {"createTime": datetime.fromtimestamp(operation.started, UTC).isoformat()}


def _content(body: Mapping[str, Any], model: str) -> Call:
    parts = list(_prompt_parts(body.get("contents")))
    text = "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    pictures = sum(1 for part in parts if "inlineData" in part or "inline_data" in part)
    if not text and not pictures:
        raise bad_request("contents must have at least one part with text or an image")
    config = part(body, "generationConfig")
    shape = part(config, "imageConfig").get("aspectRatio", "1:1")
    if shape not in _SHAPES:
        raise bad_request(f"aspectRatio must be one of {', '.join(_SHAPES)}, not {shape!r}")
    return Call(
        endpoint="generateContent",
        model=model,
        prompt=text,
        kind="image" if _wants_image(config, model) else "text",
        pictures=pictures,
        size=_SHAPES[shape],
        schema=_schema(config),
    )


def _prompt_parts(contents: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(contents, list):
        raise bad_request("contents must be a list")
    for content in contents:
        parts = content.get("parts") if isinstance(content, dict) else None
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise bad_request("every content must have a list of parts")
        yield from parts


def _wants_image(config: Mapping[str, Any], model: str) -> bool:
    modalities = [str(one).upper() for one in config.get("responseModalities") or []]
    return "IMAGE" in modalities if modalities else "image" in model


def _schema(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if config.get("responseMimeType") != "application/json":
        return None
    return config.get("responseSchema") or config.get("responseJsonSchema") or {"type": "object"}


def _video(body: Mapping[str, Any], model: str) -> Call:
    instances = body["instances"]
    first = instances[0] if isinstance(instances, list) and instances else None
    if not isinstance(first, dict) or not (first.get("prompt") or first.get("image")):
        raise bad_request("instances must have one object with a prompt or an image")
    return Call(
        endpoint="predictLongRunning",
        model=model,
        prompt=str(first.get("prompt", "")),
        kind="video",
        count=_count(part(body, "parameters").get("sampleCount", 1)),
        pictures=1 if "image" in first else 0,
    )


def _count(asked: Any) -> int:
    if not isinstance(asked, int) or not 1 <= asked <= 4:
        raise bad_request("sampleCount must be from 1 to 4")
    return asked


def _parts(made: Made) -> Iterator[dict[str, Any]]:
    if made.text is not None:
        yield {"text": made.text}
    for image in made.images:
        yield {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(image).decode()}}


def _finish_reason(call: Call, made: Made) -> str:
    if made.outcome is Outcome.REFUSED:
        return "IMAGE_SAFETY" if call.kind == "image" else "SAFETY"
    return "NO_IMAGE" if made.outcome is Outcome.NO_IMAGE else "STOP"


def _seconds_shown(refusal: RefusedError) -> float | None:
    """A used-up day is announced with seconds, too; they are those of a minute and mislead."""
    wait = refusal.wait
    return wait % 60 if wait is not None and refusal.outcome is Outcome.DAY_LIMITED else wait


def _limit_message(limit: Standing, model: str, wait: float | None) -> str:
    metric = _QUOTAS[limit.quota][0]
    message = (
        "You exceeded your current quota.\n"
        f"* Quota exceeded for metric: generativelanguage.googleapis.com/{metric}, "
        f"limit: {limit.limit}, model: {model}"
    )
    return message if wait is None else f"{message}\nPlease retry in {wait:.9f}s."


def _limit_details(limit: Standing, model: str, wait: float | None) -> list[dict[str, Any]]:
    metric, quota = _QUOTAS[limit.quota]
    violation = {
        "quotaMetric": f"generativelanguage.googleapis.com/{metric}",
        "quotaId": quota,
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": str(limit.limit),
    }
    learn = {
        "description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
    }
    details = [_detail("QuotaFailure", violations=[violation]), _detail("Help", links=[learn])]
    if wait is not None:  # whole seconds, cut off
        details.append(_detail("RetryInfo", retryDelay=f"{int(wait)}s"))
    return details


def _detail(type_: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{type_}", **fields}
