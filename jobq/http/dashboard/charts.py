"""Numbers as bars: the geometry of small SVG charts, which need neither style nor script."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

WIDTH, HEIGHT = 600.0, 96.0
GAP = 2.0


@frozen
class Bar:
    """A rectangle, and what it says when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    title: str


@frozen
class Chart:
    """Bars side by side, from the oldest to the newest."""

    bars: tuple[Bar, ...]
    top: int
    """The number that the highest bar could reach."""
    width: float = WIDTH
    height: float = HEIGHT


def scale(most: int) -> int:
    """The least round number that is not below the highest bar."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if most <= step * size:
                return step * size
        size *= 10


def bars(values: Sequence[int], titles: Sequence[str]) -> Chart:
    """A chart of some numbers; what is 0 keeps a hair's breadth."""
    top = scale(max(values, default=0))
    each = WIDTH / max(1, len(values))
    drawn = []
    for index, (value, title) in enumerate(zip(values, titles, strict=True)):
        height = max(1.5, round(value / top * HEIGHT, 1))
        drawn.append(
            Bar(round(index * each, 2), HEIGHT - height, round(each - GAP, 2), height, title)
        )
    return Chart(tuple(drawn), top)
