"""Wake the workers of this process at once, without asking the database."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

_listeners: dict[str, set[Callable[[], None]]] = defaultdict(set)
_lock = threading.Lock()


def listen(identity: str, wake: Callable[[], None]) -> Callable[[], None]:
    """Call `wake` (from any thread) when jobs may have come; returns how to stop that."""
    with _lock:
        _listeners[identity].add(wake)

    def stop() -> None:
        with _lock:
            _listeners[identity].discard(wake)

    return stop


def is_awaited(identity: str) -> bool:
    """Whether this process has workers for this database."""
    return bool(_listeners.get(identity))


def wake(identity: str) -> None:
    """Jobs may have come for the workers of this database."""
    if identity in _listeners:
        with _lock:
            listeners = tuple(_listeners[identity])
        for listener in listeners:
            listener()
