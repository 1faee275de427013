"""Where a claim may begin: at what was claimed last, not at what an old snapshot keeps.

While some transaction holds a snapshot, PostgreSQL cannot take the entries of ended jobs out of
its indexes, and a claim walks over all of them: they lie where the oldest jobs would be. So most
claims begin at the edge that the last one has reached. A job that comes in behind it, of an older
transaction or of a priority never seen, is found by a claim without edges; that one is made as
often as it takes a small share of the time. A wrong edge costs that wait and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from jobq._worker.pace import Pace

MOST = 100
MOST_PUT_OFF = 3.0
"""Seconds more that a job behind an edge waits where claims without edges have grown dear."""
Edge = tuple[str, str, int, int]
"""Queue, type, priority, and the `run_at` that claims of these have reached."""


class Edges:
    """The edges that one worker has reached."""

    def __init__(self) -> None:
        self._pace = Pace(MOST_PUT_OFF)
        self._reached: dict[tuple[str, str, int], int] = {}
        self.full_at = 0.0
        """When the next claim without edges may be made (monotonic)."""
        self.owes_full = False
        """Whether the last claim had edges, so that it may have missed jobs."""

    def choose(self, queues: Collection[str], types: Collection[str], now: float) -> list[Edge]:
        """Where a claim is to begin; nowhere in particular if it is time for one without edges."""
        if now >= self.full_at:
            return []
        return [
            (queue, type, priority, run_at)
            for (queue, type, priority), run_at in self._reached.items()
            if queue in queues and type in types
        ]

    def reached(
        self, claimed: Sequence[Any], edges: Sequence[Edge], *, began: float, now: float
    ) -> None:
        """Note what a claim with these edges has brought."""
        self.owes_full = bool(edges)
        if not edges:
            self.full_at = now + self._pace.rest(now - began)
        if len(self._reached) > MOST:
            self._reached.clear()
        for job in claimed:  # the oldest first
            self._reached[job.queue, job.type, job.priority] = job.run_at

    def forget(self) -> None:
        """Jobs behind them have gone back: let the next claim begin anywhere."""
        self._reached.clear()
