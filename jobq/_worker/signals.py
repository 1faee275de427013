"""SIGTERM and SIGINT: the first ends the worker gracefully, the second at once."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobq.observe import logger

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def shutdown_signals(stop: Callable[[bool], None]) -> Iterator[None]:
    """Call `stop(False)` at the first signal and `stop(True)` at the next.

    Does nothing outside the main thread, where signals are not delivered.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    seen = 0

    def received(number: int) -> None:
        nonlocal seen
        seen += 1
        name = signal.Signals(number).name
        if seen == 1:
            logger.info("%s: finishing what is running; once more to stop at once", name)
        else:
            logger.warning("%s again: stopping at once", name)
        stop(seen > 1)

    for number in SIGNALS:
        loop.add_signal_handler(number, received, number)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
