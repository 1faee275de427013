"""Which exceptions that end the call of a handler are failures, to those who tell of them."""

from __future__ import annotations

from asyncio import CancelledError

from jobq._durable.signals import interruption
from jobq._signals import Permanent, Signal
from jobq._worker.running import NotNow


def is_handed_on(error: BaseException) -> bool:
    """Whether the exception only takes a job to where it goes on: parked, or given back."""
    return isinstance(error, NotNow) or interruption(error) is not None


def is_failure(error: BaseException) -> bool:
    """Whether something went wrong, as far as the exception tells.

    What a handler only wishes is none; nor is a cancellation: whoever asked for it knows.
    """
    if is_handed_on(error) or isinstance(error, CancelledError):
        return False
    return isinstance(error, Permanent) or not isinstance(error, Signal)
