"""What ends a run of a handler in the middle. `except Exception` in the handler lets it pass."""

from __future__ import annotations


class Interruption(BaseException):
    """The handler has come as far as it can for now; no error."""


class Park(Interruption):
    """The job waits for something outside, and its slot is for others meanwhile."""


class Leaving(Interruption):
    """The worker is about to end: what comes next is left to another one."""


class Halted(Interruption):
    """The job was asked to cancel, and nothing more is to be begun."""


def interruption(error: BaseException) -> Interruption | None:
    """What ended a handler, also where a group of tasks has wrapped it."""
    if isinstance(error, Interruption):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = (interruption(one) for one in error.exceptions)
        return next((one for one in found if one is not None), None)
    return None
