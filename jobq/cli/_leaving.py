"""End the process, whatever handlers still do.

A thread cannot be stopped, and a coroutine may swallow its cancellation; both would keep Python
from ending. Their jobs have been given back by then, so nothing is lost by leaving them.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from jobq.observe import logger


def leave(code: int) -> NoReturn:
    """End the process now, without waiting for threads or tasks."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads it
            stream.flush()
    os._exit(code)


def leave_within(seconds: float, code: int) -> threading.Timer:
    """End the process after so many seconds, unless it ends by itself or this is cancelled."""

    def overdue() -> None:
        logger.warning("something still runs %g s after the end; leaving it behind", seconds)
        leave(code)

    timer = threading.Timer(seconds, overdue)
    timer.daemon = True
    timer.start()
    return timer
