"""Which of many lanes to ask for, without looking at all of them for each claim."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

At = tuple[str, str]
GOOD_FOR = 0.1
"""How long an order holds, in seconds: so much later at most is a more urgent job noticed."""


class Ranking:
    """The turns of lanes whose next jobs are as urgent, as a claim has found them lately.

    Only where they are more than a claim asks for; whom it served comes last then. Times are of
    the monotonic clock.
    """

    def __init__(self) -> None:
        self._order: dict[At, None] = {}
        self._until = 0.0

    def choose(self, lanes: list[At], slots: int, now: float) -> list[At]:
        """The next ones, with some in reserve, or all where their order isn't known."""
        if now >= self._until:
            return lanes
        open_lanes = set(lanes)
        turns = (at for at in self._order if at in open_lanes)
        return list(islice(turns, slots + slots // 2 + 1)) or lanes

    def heard(self, grant: Any, now: float) -> None:
        """Take in what a claim brought."""
        if grant.ranked:
            self._order = dict.fromkeys(grant.ranked)
            self._until = now + GOOD_FOR
        if self._order:
            self._drop([*grant.empty, *grant.openings])
            served = [(job.queue, job.lane) for job, _ in grant.jobs]
            self._order |= dict.fromkeys(self._drop(served))

    def _drop(self, lanes: Sequence[At]) -> list[At]:
        known = [at for at in lanes if at in self._order]
        for at in known:
            self._order.pop(at, None)
        return known
