"""How many units any window of time holds. Nothing of jobq's own arithmetic is used here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NANOSECONDS = 1_000_000_000
Start = tuple[int, int]
"""An instant in nanoseconds, and the units that were used at it."""


def fullest(starts: Iterable[Start], per: float) -> int:
    """The most units in any half-open window of `per` seconds."""
    span = round(per * NANOSECONDS)
    ordered = sorted(starts)
    first = held = most = 0
    for at, units in ordered:
        held += units
        while ordered[first][0] <= at - span:
            held -= ordered[first][1]
            first += 1
        most = max(most, held)
    return most


def pace(starts: Sequence[int]) -> float:
    """Starts per second between the first and the last of these instants."""
    seconds = (max(starts) - min(starts)) / NANOSECONDS
    return (len(starts) - 1) / seconds if seconds else 0.0


def quantile(values: Iterable[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
