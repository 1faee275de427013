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
        self._trailing: set[str] = set()
        self._covered: set[str] = set()
        """Queues whose trailing NOTIFY a leading one, now under way, makes needless."""
        self._lock = threading.Lock()

    def leads(self, queue: str) -> bool:
        """Whether the NOTIFY should ride in the transaction that is about to begin."""
        now = time.monotonic()
        with self._lock:
            if now - self._sent.get(queue, 0.0) < COALESCE:
                return False
            self._sent[queue] = now
            if queue in self._trailing:
                self._trailing.discard(queue)
                self._covered.add(queue)
            return True

    def trails(self, queue: str) -> bool:
        """Whether the caller has to arrange for the trailing NOTIFY; it may be under way."""
        with self._lock:
            if queue in self._trailing:
                return False
            self._trailing.add(queue)
            return True

    def sent(self, queue: str) -> None:
        """A leading NOTIFY was committed: it stands for those that trailed before it began.

        Not for those that came since; it may have been heard before they were committed.
        """
        with self._lock:
            self._covered.discard(queue)

    def take(self) -> list[str]:
        """The queues whose trailing NOTIFY is due now."""
        with self._lock:
            queues = sorted(self._trailing | self._covered)
            self._trailing.clear()
            self._covered.clear()
            now = time.monotonic()
            self._sent.update(dict.fromkeys(queues, now))
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
