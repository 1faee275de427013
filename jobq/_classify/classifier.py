"""Classify an exception: one's own rules first, then a provider's answer, then the transport."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from attrs import frozen

from jobq._classify import evidence
from jobq._classify.answers import is_answer, judge
from jobq._classify.chain import Link, chain, members
from jobq._classify.evidence import Evidence
from jobq._classify.failure import Failure, FailureKind, most_restrained
from jobq._classify.transport import Transport, transport

logger = logging.getLogger("jobq")

Rule = Callable[[BaseException], Failure | None]
"""A rule of one's own: a `Failure` for an exception that it knows, else `None`."""

_PARAPHRASES = frozenset({"litellm"})
"""Packages that give every failure a status of their own making: what they wrap is truer."""
_BUG = Failure(kind=FailureKind.BUG)


class Classifier:
    """Rules of one's own in front of what jobq knows of providers.

    `jobq.classify` and `jobq.classifier` are the methods of one that the process shares.

    >>> own = Classifier()
    >>> @own.register
    ... def busy(error: BaseException) -> Failure | None:
    ...     return Failure(kind="overloaded") if "busy" in str(error) else None
    >>> str(own.classify(RuntimeError("the model is busy")).kind)
    'overloaded'
    """

    def __init__(self) -> None:
        self._rules: tuple[Rule, ...] = ()

    def register(self, rule: Rule) -> Rule:
        """Ask this rule before all others; usable as a decorator, returns the rule.

        It is asked about the exception that was raised, and about each member of a group; looking
        at causes is its own business. If it raises, or returns anything but a `Failure` or `None`,
        that is logged and the next rule is asked.

        >>> @jobq.classifier  # doctest: +SKIP
        ... def queue_full(error: BaseException) -> jobq.Failure | None:
        ...     if isinstance(error, studio.QueueFull):
        ...         return jobq.Failure(kind="rate_limited", retry_after=error.seconds)
        ...     return None
        """
        self._rules = (rule, *self._rules)
        return rule

    def classify(self, exc: BaseException, *, now: float | None = None) -> Failure:
        """What an exception means for the job. Raises nothing and waits for nothing.

        `now` is the time in seconds since 1970 that dates in headers are compared with where the
        answer has no date of its own; by default this machine's clock.

        The nearest exception that tells something counts: the one raised, else what it wraps
        (`__cause__`, `__context__`, tenacity's last attempt). Of a group, the failure that asks
        for the most restraint counts. What tells nothing of a provider is a `bug`.

        >>> failure = jobq.classify(error)  # doctest: +SKIP
        >>> failure.kind, failure.retry_after, failure.code  # doctest: +SKIP
        (<FailureKind.RATE_LIMITED: 'rate_limited'>, 54.0, 'RESOURCE_EXHAUSTED')
        """
        try:
            return self._classify(exc, time.time() if now is None else now, set())
        except Exception:
            logger.exception("cannot classify a %s; it counts as a bug", type(exc).__name__)
            return _BUG

    def _classify(self, exception: BaseException, now: float, seen: set[int]) -> Failure:
        known = self._by_rule(exception)
        if known is not None:
            return known
        clues: list[Clue] = []
        for link in chain(exception, seen):
            if isinstance(link.exception, BaseExceptionGroup):
                failures = [self._classify(one, now, seen) for one in members(link.exception)]
                known = most_restrained([one for one in failures if one != _BUG])
                if known is not None:
                    clues.append(Clue(earlier=link.earlier, group=known))
            elif (clue := _clue(link)) is not None:
                clues.append(clue)
        return _conclude(clues, now)

    def _by_rule(self, exception: BaseException) -> Failure | None:
        for rule in self._rules:
            try:
                failure = rule(exception)
            except Exception:
                logger.exception("classifier %r failed; it is passed over", rule)
                continue
            if isinstance(failure, Failure):
                return failure
            if failure is not None:
                logger.error("classifier %r returned %r, not a Failure", rule, failure)
        return None


@frozen(kw_only=True)
class Clue:
    """What one exception of a chain tells: an answer, how far a request came, or a group's sum."""

    earlier: bool
    answer: Evidence | None = None
    way: Transport | None = None
    group: Failure | None = None
    firm: bool = True
    """Whether it tells what happened, rather than what a wrapper calls it."""


def _clue(link: Link) -> Clue | None:
    exception, earlier = link.exception, link.earlier
    if not isinstance(exception, Exception):  # SystemExit has a code, too
        return None
    way = transport(exception)
    if way in {Transport.UNSENT, Transport.LOST}:
        return Clue(earlier=earlier, way=way)
    wrapper = _is_paraphrase(exception)
    answer = evidence.read(exception)
    if is_answer(answer) and not (way and wrapper):
        return Clue(earlier=earlier, answer=answer, firm=not wrapper)
    return Clue(earlier=earlier, way=way, firm=False) if way else None


def _is_paraphrase(exception: BaseException) -> bool:
    kinds = type(exception).__mro__
    package = str(kinds[0].__module__).partition(".")[0]
    return package in _PARAPHRASES and all(kind.__name__ != "HTTPStatusError" for kind in kinds)


def _conclude(clues: list[Clue], now: float) -> Failure:
    if not clues:
        return _BUG
    first = next((index for index, clue in enumerate(clues) if clue.firm), 0)
    chosen, rest = clues[first], clues[first + 1 :]
    if chosen.group is not None:
        return chosen.group
    if chosen.answer is None:
        return Failure(kind=_kind_without_answer(chosen, rest))
    answer = chosen.answer
    for clue in rest:  # the same answer, wrapped again
        if clue.answer is not None and clue.answer.status == answer.status:
            answer = answer.joined(clue.answer)
    return judge(answer, now)


def _kind_without_answer(chosen: Clue, rest: list[Clue]) -> FailureKind:
    """A request that never left may be the second try of one that did."""
    lost_before = any(clue.way is Transport.LOST and clue.earlier for clue in rest)
    if chosen.way is Transport.UNSENT and not lost_before:
        return FailureKind.TRANSIENT_UNSENT
    return FailureKind.AMBIGUOUS


_shared = Classifier()
classify = _shared.classify
classifier = _shared.register
