"""Which exceptions hide behind one, and how to look at any object without being hurt."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from jobq._errors import JobqError

MOST_LINKS = 64
"""How many exceptions are looked at behind the one that was raised."""
MOST_MEMBERS = 32


def peek(thing: object, name: str) -> Any:
    """An attribute, or `None` where there is none to be had: properties may raise."""
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001  whatever a property raises, there is nothing to read
        return None


def stored(thing: object, name: str) -> Any:
    """An instance's own attribute: reading it runs no code, so it warns and blocks never."""
    own = peek(thing, "__dict__")
    return own.get(name) if isinstance(own, dict) else None


@frozen(eq=False)
class Link:
    """One exception of a chain."""

    exception: BaseException
    earlier: bool
    """Whether it was raised before and merely being handled: it may be another call's."""


def chain(exception: BaseException, seen: set[int]) -> Iterator[Link]:
    """The exception and what it wraps, the nearest first. Groups are not entered.

    `seen` holds the ids of exceptions already looked at, here or in another chain.
    """
    waiting = deque([Link(exception, earlier=False)])
    while waiting and len(seen) < MOST_LINKS:
        link = waiting.popleft()
        if id(link.exception) in seen or isinstance(link.exception, JobqError):
            continue
        seen.add(id(link.exception))
        yield link
        waiting.extend(_behind(link))


def _behind(link: Link) -> Iterator[Link]:
    exception = link.exception
    cause = peek(exception, "__cause__")
    context = peek(exception, "__context__")
    arguments = peek(exception, "args")
    hidden = [cause, peek(exception, "reason"), _last_attempt(exception)]
    hidden += arguments[:4] if isinstance(arguments, tuple) else []
    for one in hidden:
        if isinstance(one, BaseException):
            yield Link(one, earlier=link.earlier)
    if (
        cause is None
        and isinstance(context, BaseException)
        and peek(exception, "__suppress_context__") is not True
    ):
        yield Link(context, earlier=True)


def _last_attempt(exception: BaseException) -> Any:
    """What tenacity's RetryError hides; `0` so that a future of any kind is not waited for."""
    ask = peek(peek(exception, "last_attempt"), "exception")
    try:
        return ask(0) if callable(ask) else None
    except Exception:  # noqa: BLE001  then it hides nothing
        return None


def members(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions of a group and of the groups within it."""
    found: list[BaseException] = []
    waiting: deque[BaseException] = deque([group])
    seen: set[int] = set()
    while waiting and len(seen) < MOST_MEMBERS:
        one = waiting.popleft()
        if id(one) in seen:
            continue
        seen.add(id(one))
        inner = peek(one, "exceptions") if isinstance(one, BaseExceptionGroup) else None
        if isinstance(inner, tuple):
            waiting.extend(inner[:MOST_MEMBERS])
        else:
            found.append(one)
    return found
