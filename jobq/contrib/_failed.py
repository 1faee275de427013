"""Which exceptions that end the call of a handler are failures, to those who tell of them."""

from __future__ import annotations

from jobq._durable.signals import interruption
from jobq._signals import Permanent, Signal
from jobq._worker.running import NotNow


def is_failure(error: BaseException) -> bool:
    """Whether something went wrong: by exceptions, jobs are also put off, parked and handed on."""
    if isinstance(error, NotNow) or interruption(error) is not None:
        return False
    return isinstance(error, Permanent) or not isinstance(error, Signal)
