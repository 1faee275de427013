"""What became of a worker's attempts since it last said so."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from jobq import backends

COUNTED = ("completed", "failed", "retried")


def column_of(status: str, outcome: str) -> str | None:
    """Where an attempt is counted, by what it made of its job; others are no work that was done."""
    if status in ("completed", "failed"):
        return status
    return "retried" if status == "pending" and outcome in ("retried", "crashed") else None


class Tally:
    """Counts attempts by queue and type, until the heartbeat takes them along."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], dict[str, float]] = {}
        self._lock = threading.Lock()  # the heartbeat is another thread's

    def count(self, ended: Iterable[tuple[str, str, str, str, float]]) -> None:
        """Add attempts: queue, type, the job's status, the attempt's outcome, its seconds."""
        with self._lock:
            for queue, type, status, outcome, seconds in ended:
                column = column_of(status, outcome)
                if column is not None:
                    self._add(queue, type, {column: 1, "seconds": seconds})

    def _add(self, queue: str, type: str, more: dict[str, float]) -> None:
        row = self._rows.setdefault((queue, type), {})
        for name, value in more.items():
            row[name] = row.get(name, 0) + value

    def take(self) -> list[dict[str, Any]]:
        """The rows to be stored; the counts begin anew."""
        with self._lock:
            taken, self._rows = self._rows, {}
        return [_stored(queue, type, row) for (queue, type), row in taken.items()]

    def put_back(self, rows: list[dict[str, Any]]) -> None:
        """What was taken could not be stored: the next heartbeat tries it again."""
        with self._lock:
            for row in rows:
                counts = {name: row[name] for name in COUNTED}
                self._add(
                    row["queue"], row["type"], {**counts, "seconds": row["duration_ms"] / 1000}
                )


def _stored(queue: str, type: str, row: dict[str, float]) -> dict[str, Any]:
    counts = {name: row.get(name, 0) for name in COUNTED}
    return {
        "queue": queue,
        "type": type,
        **counts,
        "duration_ms": round(row.get("seconds", 0.0) * 1000),
    }


async def write(store: backends.AsyncStore, worker: str, tally: Tally) -> None:
    """Store what is left at the end."""
    rows = tally.take()
    if rows:
        await store.run(backends.ops.add_stats, worker, rows)
