"""Retry policies: how many attempts a job gets, and how long it rests between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from attrs import Factory, evolve, field, frozen

from jobq._errors import ConfigurationError


class Backoff(Protocol):
    """How long to rest after an attempt that failed."""

    def delay(self, attempt: int, rand: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1).

        `rand` is a random number in [0, 1) for the jitter: the same number gives the same delay.
        """


Jitter = Literal["full", "equal", "none"]


@frozen(kw_only=True)
class Exponential:
    """`min(cap, base * factor ** (attempt - 1))` seconds, with jitter.

    Jitter `"full"` draws from [0, delay], `"equal"` from [delay / 2, delay]; both are the
    formulas of "Exponential Backoff And Jitter" (Marc Brooker, AWS, 2015).

    >>> Exponential(base=5, cap=60, jitter="none").delay(3, 0.0)
    20.0
    """

    base: float = 5.0
    factor: float = 2.0
    cap: float = 600.0
    jitter: Jitter = "full"

    def __attrs_post_init__(self) -> None:
        if not (0 < self.base < float("inf") and 1 <= self.factor < float("inf")):
            raise ConfigurationError(
                f"Exponential(base={self.base!r}, factor={self.factor!r}): "
                f"base must be above 0 and factor at least 1"
            )
        if not self.base <= self.cap < float("inf"):
            raise ConfigurationError(f"Exponential(cap={self.cap!r}) must be at least base")
        if self.jitter not in ("full", "equal", "none"):
            raise ConfigurationError(f"jitter={self.jitter!r} is none of 'full', 'equal', 'none'")

    def delay(self, attempt: int, rand: float) -> float:
        try:
            ceiling = min(self.cap, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            ceiling = self.cap
        if self.jitter == "full":
            return ceiling * rand
        if self.jitter == "equal":
            return ceiling / 2 + ceiling / 2 * rand
        return float(ceiling)


@frozen
class Fixed:
    """Always the same number of seconds."""

    seconds: float

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.seconds < float("inf"):
            raise ConfigurationError(f"Fixed({self.seconds!r}): seconds must be 0 or more")

    def delay(self, attempt: int, rand: float) -> float:  # noqa: ARG002  the protocol's arguments
        return float(self.seconds)


def _check_max_attempts(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
        raise ConfigurationError(f"max_attempts={value!r} must be an integer from 1 to 10000")
    return value


@frozen(kw_only=True)
class Retry:
    """What happens after an attempt fails. On by default: three attempts, growing rests.

    `rules` maps exception classes to a backoff of their own, or to `None`: fail at once. The
    rule of the nearest base class wins, and goes before what `jobq.classify` makes of it. After
    `max_rate_limit_wait` seconds of refusals by a provider (which cost no attempt) a job fails.

    >>> policy = Retry(max_attempts=5, rules={TimeoutError: Fixed(1), ValueError: None})
    >>> policy.backoff_for(ConnectionResetError) is policy.backoff
    True
    """

    max_attempts: int = field(default=3, converter=_check_max_attempts)
    backoff: Backoff = Factory(Exponential)
    rules: Mapping[type[BaseException], Backoff | None] = Factory(dict)
    max_rate_limit_wait: float = 86400.0

    def __attrs_post_init__(self) -> None:
        for kind in self.rules:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise ConfigurationError(f"Retry(rules=…): {kind!r} is not an exception class")

        if not 0 < self.max_rate_limit_wait <= 365 * 86400:
            raise ConfigurationError(
                f"Retry(max_rate_limit_wait={self.max_rate_limit_wait!r}) must be seconds"
            )

    def has_rule_for(self, kind: type[BaseException]) -> bool:
        """Whether one of the rules names this class, or a base of it."""
        return any(base in self.rules for base in kind.__mro__)

    def backoff_for(self, kind: type[BaseException]) -> Backoff | None:
        """The backoff after an exception of this class; `None` means: do not retry."""
        for base in kind.__mro__:
            if base in self.rules:
                return self.rules[base]
        return self.backoff


def with_usual_rests(retry: Retry) -> Retry:
    """The same, where one of its own backoffs is broken."""
    usual = Exponential()
    rules = {k: None if own is None else usual for k, own in retry.rules.items()}
    return evolve(retry, backoff=usual, rules=rules)
