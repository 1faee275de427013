"""NOTIFY, coalesced: hints for the workers of other processes."""

from __future__ import annotations

import threading
import time

COALESCE = 0.01
"""Seconds in which one NOTIFY stands for all jobs of a queue."""
TRAIL = 1.5 * COALESCE
"""When the trailing one follows. Later than the next leading one, which in a stream saves it."""


class Hints:
    """NOTIFY, coalesced: the first job of a burst wakes workers at once, the last one by a trail.

    A queue's first NOTIFY rides in the enqueuing transaction. Those that commit within the next
    10 ms leave it out, and one NOTIFY a little later stands for them all, so no hint is lost.
    """

    def __init__(self) -> None:
        self._sent: dict[str, float] = {}
        self._trailing: dict[str, float] = {}
        """When each queue's trailing NOTIFY is due."""
        self._covered: dict[str, float] = {}
        """The same, for those that a leading NOTIFY, now under way, makes needless."""
        self._attended = False
        self._lock = threading.Lock()

    def leads(self, queue: str) -> bool:
        """Whether the NOTIFY should ride in the transaction that is about to begin."""
        now = time.monotonic()
        with self._lock:
            if now - self._sent.get(queue, 0.0) < COALESCE:
                return False
            self._sent[queue] = now
            if queue in self._trailing:
                self._covered[queue] = self._trailing.pop(queue)
            return True

    def trails(self, queue: str) -> bool:
        """Note that a trailing NOTIFY is needed; whether the caller has to start attending."""
        with self._lock:
            self._trailing.setdefault(queue, time.monotonic() + TRAIL)
            begins, self._attended = not self._attended, True
            return begins

    def sent(self, queue: str) -> None:
        """A leading NOTIFY was committed: it stands for those that trailed before it began.

        Not for those that came since; it may have been heard before they were committed.
        """
        with self._lock:
            self._covered.pop(queue, None)

    def rest(self) -> float | None:
        """Seconds until the next trailing NOTIFY is due; `None` ends the attendance."""
        with self._lock:
            due = min([*self._trailing.values(), *self._covered.values()], default=None)
            self._attended = due is not None
            return None if due is None else max(0.0, due - time.monotonic())

    def take(self, *, everything: bool = False) -> list[str]:
        """The queues whose trailing NOTIFY is due now."""
        now = time.monotonic()
        with self._lock:
            waiting = {**self._covered, **self._trailing}
            queues = sorted(q for q, due in waiting.items() if everything or due <= now)
            for queue in queues:
                self._trailing.pop(queue, None)
                self._covered.pop(queue, None)
                self._sent[queue] = now
            return queues


class Hinting:
    """What both faces of PostgreSQL say about hints."""

    def __init__(self) -> None:
        self._hints = Hints()

    def notifies_now(self, queue: str) -> bool:
        """Whether the caller's statement should carry the NOTIFY."""
        return self._hints.leads(queue)

    def notified(self, queue: str) -> None:
        """A statement that carried the NOTIFY was committed."""
        self._hints.sent(queue)
