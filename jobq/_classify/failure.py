"""The classes of failure."""

from __future__ import annotations

from enum import StrEnum

from attrs import field, frozen

from jobq._classify.waits import clamped


class FailureKind(StrEnum):
    """Why a call to a provider failed, by what may be done about it."""

    RATE_LIMITED = "rate_limited"
    """Refused before any work, until some time has passed."""
    OVERLOADED = "overloaded"
    """Refused before any work: the provider has no room for anybody."""
    QUOTA_EXHAUSTED = "quota_exhausted"
    """Refused until someone pays or raises a limit: waiting does not help this key."""
    TRANSIENT = "transient"
    """The provider failed; it may have worked."""
    TRANSIENT_UNSENT = "transient_unsent"
    """The request never left: nothing was done, nothing is billed."""
    AMBIGUOUS = "ambiguous"
    """The request left and its result never came: it may have been done and billed."""
    PERMANENT = "permanent"
    """The same request will be refused again."""
    BUG = "bug"
    """Not a provider's failure, as far as can be told."""


@frozen(kw_only=True)
class Failure:
    """What `classify` made of an exception.

    >>> Failure(kind="rate_limited", retry_after=1_000_000).retry_after
    86400.0
    """

    kind: FailureKind = field(converter=FailureKind)
    retry_after: float | None = field(default=None, converter=clamped)
    """Seconds that the provider asked to wait, from 0.1 to 86400; `None` if it did not say."""
    code: str | None = None
    """The provider's word for it (`insufficient_quota`), else the status as `http_429`."""
    status: int | None = None
    """The HTTP status of the answer; `None` where none came."""
    per_day: bool = False
    """Whether a quota per day was named. Without `retry_after`, wait until that quota's reset."""
    remaining_zero: bool = False
    """Whether a header said that nothing remains of a limit (`x-ratelimit-remaining: 0`)."""
    credentials: bool = False
    """Whether the key itself was refused (401, 403, an invalid key): use another one."""


_BY_RESTRAINT = (
    FailureKind.PERMANENT,
    FailureKind.QUOTA_EXHAUSTED,
    FailureKind.AMBIGUOUS,
    FailureKind.RATE_LIMITED,
    FailureKind.OVERLOADED,
    FailureKind.TRANSIENT,
    FailureKind.TRANSIENT_UNSENT,
    FailureKind.BUG,
)


def most_restrained(failures: list[Failure]) -> Failure | None:
    """One failure for several at once: what is hopeless or may be paid twice comes first.

    It waits as long as the longest of them asks, and keeps every warning about a key or a limit.
    """
    if not failures:
        return None
    chosen = min(
        failures, key=lambda failure: (_BY_RESTRAINT.index(failure.kind), not failure.per_day)
    )
    return Failure(
        kind=chosen.kind,
        retry_after=max((one.retry_after for one in failures if one.retry_after), default=None),
        code=chosen.code,
        status=chosen.status,
        per_day=chosen.per_day,
        remaining_zero=any(one.remaining_zero for one in failures),
        credentials=any(one.credentials for one in failures),
    )
