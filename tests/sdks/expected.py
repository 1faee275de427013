"""What `jobq.classify` has to make of each answer, whichever SDK met it."""

from __future__ import annotations

from jobq._classify.failure import Failure, FailureKind

RATE_LIMITED = FailureKind.RATE_LIMITED
OVERLOADED = FailureKind.OVERLOADED
QUOTA_EXHAUSTED = FailureKind.QUOTA_EXHAUSTED
TRANSIENT = FailureKind.TRANSIENT
AMBIGUOUS = FailureKind.AMBIGUOUS
PERMANENT = FailureKind.PERMANENT


def _failure(
    kind: FailureKind, status: int, code: str, retry_after: float | None = None, **more: bool
) -> Failure:
    return Failure(kind=kind, status=status, code=code, retry_after=retry_after, **more)


EXPECTED = {
    # 53 s, which Google has cut to whole seconds
    "gemini-429": _failure(RATE_LIMITED, 429, "RESOURCE_EXHAUSTED", 54.0),
    # its 21 s are those of the minute, not of the day
    "gemini-429-day": _failure(RATE_LIMITED, 429, "RESOURCE_EXHAUSTED", per_day=True),
    "gemini-429-bare": _failure(RATE_LIMITED, 429, "RESOURCE_EXHAUSTED"),
    "gemini-429-text": _failure(RATE_LIMITED, 429, "RESOURCE_EXHAUSTED", 27.336342224),
    "gemini-429-none": _failure(QUOTA_EXHAUSTED, 429, "RESOURCE_EXHAUSTED", 26.0),
    "gemini-503": _failure(OVERLOADED, 503, "UNAVAILABLE"),
    "gemini-503-deadline": _failure(AMBIGUOUS, 503, "UNAVAILABLE"),
    "gemini-500": _failure(TRANSIENT, 500, "INTERNAL"),
    "gemini-400": _failure(PERMANENT, 400, "INVALID_ARGUMENT"),
    "gemini-400-key": _failure(PERMANENT, 400, "API_KEY_INVALID", credentials=True),
    "gemini-403": _failure(PERMANENT, 403, "PERMISSION_DENIED", credentials=True),
    "openai-429": _failure(RATE_LIMITED, 429, "rate_limit_exceeded", 20.5, remaining_zero=True),
    "openai-429-text": _failure(RATE_LIMITED, 429, "rate_limit_exceeded", 9.816),
    "openai-429-large": _failure(PERMANENT, 429, "request_too_large"),
    "openai-429-credit": _failure(QUOTA_EXHAUSTED, 429, "credit_balance_exhausted"),
    "openai-503": _failure(OVERLOADED, 503, "server_error"),
    "openai-500": _failure(TRANSIENT, 500, "server_error"),
    "openai-500-final": _failure(PERMANENT, 500, "server_error"),
    "openai-401": _failure(PERMANENT, 401, "invalid_api_key", credentials=True),
    "openai-400": _failure(PERMANENT, 400, "moderation_blocked"),
    "anthropic-429": _failure(RATE_LIMITED, 429, "rate_limit_error", 30.0, remaining_zero=True),
    "anthropic-429-ramp": _failure(RATE_LIMITED, 429, "ramp_limit_exceeded", 12.0),
    "anthropic-429-spend": _failure(QUOTA_EXHAUSTED, 429, "enforced_spend_limit_reached"),
    "anthropic-402": _failure(QUOTA_EXHAUSTED, 402, "billing_error"),
    "anthropic-529": _failure(OVERLOADED, 529, "overloaded_error"),
    "anthropic-500": _failure(TRANSIENT, 500, "api_error"),
    "anthropic-401": _failure(PERMANENT, 401, "authentication_error", credentials=True),
    "anthropic-400": _failure(PERMANENT, 400, "invalid_request_error"),
    # Replicate's SDK keeps neither headers nor body, only `detail`
    "replicate-429": _failure(RATE_LIMITED, 429, "http_429", 30.0),
    "replicate-402": _failure(QUOTA_EXHAUSTED, 402, "http_402"),
    "replicate-401": _failure(PERMANENT, 401, "http_401", credentials=True),
    "replicate-422": _failure(PERMANENT, 422, "http_422"),
    "replicate-500": _failure(TRANSIENT, 500, "http_500"),
    "replicate-503": _failure(OVERLOADED, 503, "http_503"),
    "fal-429": _failure(RATE_LIMITED, 429, "http_429", 7.0),
    "fal-403": _failure(QUOTA_EXHAUSTED, 403, "http_403"),
    "fal-401": _failure(PERMANENT, 401, "http_401", credentials=True),
    "fal-422": _failure(PERMANENT, 422, "content_policy_violation"),
    "fal-503": _failure(OVERLOADED, 503, "runner_scheduling_failure"),
    "fal-503-lost": _failure(TRANSIENT, 503, "runner_disconnected"),
    "fal-504": _failure(TRANSIENT, 504, "request_timeout"),
    "s3-503": _failure(OVERLOADED, 503, "SlowDown"),
    "s3-500": _failure(TRANSIENT, 500, "InternalError"),
    "s3-403": _failure(PERMANENT, 403, "AccessDenied", credentials=True),
    "s3-400": _failure(RATE_LIMITED, 400, "ThrottlingException"),
    "dated-429": _failure(RATE_LIMITED, 429, "http_429", 90.0),
}
UNSENT = Failure(kind=FailureKind.TRANSIENT_UNSENT)
LOST = Failure(kind=AMBIGUOUS)


def of(provider: str) -> list[str]:
    """The answers of one provider."""
    return [name for name in EXPECTED if name.startswith(f"{provider}-")]
