"""What a provider's answer means for the job."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jobq._classify import waits
from jobq._classify.evidence import Evidence
from jobq._classify.failure import Failure, FailureKind

TRUNCATION = 1.0
"""Google cuts RetryInfo to whole seconds: a try after exactly that long may come too early."""
_TRUSTED_OF_A_DAY = 3600.0

_STATUS_OF = {
    # Google and gRPC
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 400,
    "UNAVAILABLE": 503,
    # OpenAI and Anthropic, in the middle of a stream that began with 200
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_RATE_LIMITED = frozenset(
    {
        "ramp_limit_exceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "BandwidthLimitExceeded",
    }
)
_EXHAUSTED = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_error",
        "billing_hard_limit_reached",
        "billing_limit_user_error",
        "billing_not_active",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
        "linked_organization_billing_unavailable",
    }
)
_OVERLOADED = frozenset(
    {"overloaded_error", "MODEL_CAPACITY_EXHAUSTED", "SlowDown", "slow_down", "engine_overloaded"}
)
_STARTED = frozenset({"runner_disconnected", "RequestTimeout"})
"""Came with a status that says otherwise, but the work had begun."""
_KEY_REFUSED = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "invalid_api_key"})
_TRANSIENT = frozenset({408, 409, 424, 425, 499})

_NO_CREDIT = re.compile(
    r"(?i)credit balance is too low|(?:credits|funds) are depleted|exhausted balance"
    r"|insufficient (?:balance|credits?)\b"
)
_NO_QUOTA = re.compile(r"\blimit: 0(?![\d.])")
_PER_DAY = re.compile(r"(?i)perday|\bper day\b|\b[rt]pd\b")
_TOO_LARGE = re.compile(r"(?i)\brequest too large\b")
_DEADLINE = re.compile(r"(?i)\bdeadline expired\b")


def is_answer(evidence: Evidence) -> bool:
    """Whether a provider answered at all, as far as can be told."""
    return evidence.status is not None or any(
        code in _STATUS_OF or code in _EXHAUSTED or code == "DEADLINE_EXCEEDED"
        for code in evidence.codes
    )


def judge(evidence: Evidence, now: float) -> Failure:
    """The meaning of an answer; `now` in seconds, for the dates in its headers."""
    status = _effective_status(evidence)
    kind = _kind(evidence, status)
    per_day = kind is FailureKind.RATE_LIMITED and _names_a_day(evidence)
    return Failure(
        kind=kind,
        retry_after=_retry_after(evidence, now, per_day=per_day)
        if kind is not FailureKind.PERMANENT
        else None,
        code=_code(evidence, status, kind),
        status=evidence.status,
        per_day=per_day,
        remaining_zero=waits.nothing_remains(evidence.headers),
        credentials=kind is FailureKind.PERMANENT
        and (status in {401, 403} or not _KEY_REFUSED.isdisjoint(evidence.codes)),
    )


def _effective_status(evidence: Evidence) -> int:
    """The status; a stream that broke off began with 200, and says in its body what happened."""
    named = next((_STATUS_OF[code] for code in evidence.codes if code in _STATUS_OF), 0)
    status = evidence.status or 0
    return status if status >= 400 or not named else named


def _kind(evidence: Evidence, status: int) -> FailureKind:
    codes = set(evidence.codes)
    retry = evidence.headers.get("x-should-retry")
    if status == 402 or codes & _EXHAUSTED or _unpaid(evidence, status):
        return FailureKind.QUOTA_EXHAUSTED
    if codes & _STARTED:
        return FailureKind.TRANSIENT
    if status >= 500 and _DEADLINE.search(evidence.text):  # after minutes of work
        return FailureKind.AMBIGUOUS
    if codes & _OVERLOADED or status in {503, 529}:
        return FailureKind.OVERLOADED
    if status == 429 or codes & _RATE_LIMITED:
        hopeless = _TOO_LARGE.search(evidence.text)
        return FailureKind.PERMANENT if hopeless else FailureKind.RATE_LIMITED
    if status in _TRANSIENT or status >= 500:
        return FailureKind.PERMANENT if retry == "false" else FailureKind.TRANSIENT
    if status < 300:  # done but not readable, or gRPC's own time-out
        return FailureKind.AMBIGUOUS
    return FailureKind.TRANSIENT if retry == "true" else FailureKind.PERMANENT


def _unpaid(evidence: Evidence, status: int) -> bool:
    """Where only the sentence tells a lack of credit from a bad request or a busy minute."""
    if status == 429 and (evidence.no_quota or _NO_QUOTA.search(evidence.text)):
        return True
    return status in {400, 403, 429} and _NO_CREDIT.search(evidence.text) is not None


def _names_a_day(evidence: Evidence) -> bool:
    return any(map(_PER_DAY.search, (*evidence.quotas, evidence.text)))


def _is_google(evidence: Evidence) -> bool:
    return any("PerDay" in text for text in (*evidence.quotas, evidence.text))


def _retry_after(evidence: Evidence, now: float, *, per_day: bool) -> float | None:
    asked = [*_asked(evidence, now)] or [*waits.resets(evidence.headers, now)]
    longest = max(asked, default=None)
    if longest is not None and longest < _TRUSTED_OF_A_DAY and per_day and _is_google(evidence):
        return None  # these seconds are those of a minute, though the day is used up
    return longest


def _asked(evidence: Evidence, now: float) -> Iterator[float]:
    yield from waits.asked_by_headers(evidence.headers, now)
    yield from evidence.retry_after
    for seconds in (*evidence.retry_info, *waits.in_retry_info(evidence.text)):
        yield seconds + TRUNCATION
    yield from waits.in_sentences(evidence.text)


def _code(evidence: Evidence, status: int, kind: FailureKind) -> str | None:
    if kind is FailureKind.PERMANENT and status == 429:
        return "request_too_large"
    return next(iter(evidence.codes), None) or (f"http_{status}" if status else None)
