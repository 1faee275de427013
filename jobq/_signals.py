"""What a handler raises to say what becomes of its job."""

from __future__ import annotations

from datetime import datetime, timedelta

from jobq._clock import from_datetime, to_span

LONGEST_WAIT = 366 * 86400
"""The longest wait for a refusal, in seconds; whatever a provider says."""


class Signal(Exception):
    """Raised by a handler to say what becomes of its job."""


def _wait(value: float | timedelta | datetime, name: str) -> tuple[int | None, int | None]:
    """(microseconds from now, instant): one of the two."""
    if isinstance(value, datetime):
        return None, from_datetime(value, name=name)
    return max(0, to_span(value, name=name)), None


def _asked(value: float | timedelta | datetime | None) -> tuple[int | None, int | None]:
    """The same of what a provider said: that may be anything, and is no error of the handler's."""
    if value is None or value != value:  # noqa: PLR0124  NaN
        return None, None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = min(max(value, 0), LONGEST_WAIT)
    return _wait(value, "RateLimited")


class RetryAfter(Signal):
    """Try again later; this attempt counts.

    `when` is seconds, a timedelta or an aware datetime.

    >>> raise RetryAfter(30, "the upload is still being scanned")  # doctest: +SKIP
    """

    def __init__(self, when: float | timedelta | datetime, reason: str = "") -> None:
        self.delay, self.run_at = _wait(when, "RetryAfter")
        self.reason = reason
        super().__init__(reason or f"retry after {when}")


class Snooze(Signal):
    """Look again later; the attempt is given back, and the snooze counted.

    >>> raise Snooze(timedelta(minutes=5))  # doctest: +SKIP
    """

    def __init__(self, when: float | timedelta | datetime, reason: str = "") -> None:
        self.delay, self.run_at = _wait(when, "Snooze")
        self.reason = reason
        super().__init__(reason or f"snooze for {when}")


class RateLimited(Signal):
    """The provider refused: close the limit for a while, and try again then.

    The attempt is given back. `retry_after` is seconds, a timedelta or an aware datetime; without
    it the rest grows with each refusal. `limit` names the limit to close (as declared, or filled
    in); otherwise it is the first `RateLimit` of the handler that is nobody's own.

    >>> raise RateLimited(30, limit="gemini")  # doctest: +SKIP
    """

    def __init__(
        self,
        retry_after: float | timedelta | datetime | None = None,
        *,
        limit: str | None = None,
        reason: str = "",
    ) -> None:
        self.delay, self.run_at = _asked(retry_after)
        self.limit = limit
        self.reason = reason
        super().__init__(reason or f"rate limited, retry after {retry_after}")


class Permanent(Signal):
    """Fail the job at once, whatever attempts it has left.

    >>> raise Permanent("unsafe_prompt", "the provider refused the prompt")  # doctest: +SKIP
    """

    def __init__(self, code: str, message: str = "") -> None:
        self.code = code
        self.message = message or code
        super().__init__(self.message)


class WaitExpired(Permanent, TimeoutError):
    """What a job waited for did not come in time.

    Fails the job at once with the code `wait_expired`, unless its handler knows what to do then.
    """

    def __init__(self, name: str, seconds: float | None = None) -> None:
        self.name = name
        within = "in time" if seconds is None else f"within {seconds:g} s"
        super().__init__("wait_expired", f"{name!r}, which it waited for, did not come {within}")


class Cancel(Signal):
    """End the job as cancelled: there is nothing left to do.

    >>> raise Cancel("the photo was deleted")  # doctest: +SKIP
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "cancelled by its handler")
