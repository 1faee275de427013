"""Numbers as bars: the geometry of small SVG charts, which need neither style nor script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

WIDTH, HEIGHT = 600.0, 96.0
GAP = 2.0
HAIR = 1.5
"""The height of what is almost nothing."""


@frozen
class Bar:
    """A rectangle, what it stands for, and what it says when it is pointed at."""

    kind: str
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
        for step in (1, 2, 3, 4, 5, 6, 8):
            if most <= step * size:
                return step * size
        size *= 10


def stacked(columns: Sequence[tuple[str, Mapping[str, int]]]) -> Chart:
    """A chart of columns, each a title and its parts by kind, from the bottom up."""
    top = scale(max((sum(parts.values()) for _, parts in columns), default=0))
    each = WIDTH / max(1, len(columns))
    drawn: list[Bar] = []
    for index, (title, parts) in enumerate(columns):
        x, width, y = round(index * each, 2), round(each - GAP, 2), HEIGHT
        if not any(parts.values()):
            drawn.append(Bar("none", x, HEIGHT - HAIR, width, HAIR, title))
        for kind, value in parts.items():
            if value:
                height = max(HAIR, round(value / top * HEIGHT, 1))
                y = round(y - height, 1)
                drawn.append(Bar(kind, x, y, width, height, title))
    return Chart(tuple(drawn), top)
