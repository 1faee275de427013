"""What fits a terminal: how wide texts are, and where they are cut."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO

GAP = 2
"""Between two columns of a table."""
CLEAR = "\x1b[H\x1b[J"
"""Empties the screen."""
REST_OF_LINE = "\x1b[K"
"""Empties what is right of the cursor."""


def columns() -> int | None:
    """How many letters a line has; `None` where no terminal reads them."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class _Page(StringIO):
    """What a terminal is about to show."""

    def isatty(self) -> bool:
        return True


def draw(show: Callable[[], None]) -> None:
    """Print what something prints in the place of what is on the screen, as far as it fits.

    Where no terminal reads it, an empty line ends it.
    """
    if columns() is None:
        show()
        print(flush=True)
        return
    with redirect_stdout(_Page()) as page:
        show()
    lines = page.getvalue().splitlines()[: shutil.get_terminal_size().lines - 1]
    sys.stdout.write(CLEAR + "\n".join(lines) + "\n")
    sys.stdout.flush()


def width(text: str) -> int:
    """How many columns a text takes: some letters take two, or none."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, room: int) -> str:
    """The text, if need be without its end.

    >>> cut("a red door", 6)
    'a red…'
    """
    if width(text) <= room:
        return text
    kept = ""
    for letter in text:
        if width(kept + letter) >= room:
            break
        kept += letter
    return f"{kept.rstrip()}…" if room > 0 else ""


def filled(text: str, room: int) -> str:
    """The text, cut or with blanks, so that it takes this many columns."""
    short = cut(text, room)
    return short + " " * (room - width(short))


def fitted(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths of columns that fit, by making the widest ones narrower; but never the first.

    No column becomes narrower than `least`: a table may not fit all the same.

    >>> fitted([36, 50, 9], [2, 4, 6], 80)
    [36, 31, 9]
    """
    narrowed = list(widths)
    excess = sum(widths) + GAP * (len(widths) - 1) - room
    while excess > 0:
        spare = [size - small for size, small in zip(narrowed, least, strict=True)][1:]
        if max(spare, default=0) <= 0:
            break
        can = [index for index, some in enumerate(spare, start=1) if some > 0]
        widest = max(can, key=lambda index: narrowed[index])
        narrowed[widest] -= 1
        excess -= 1
    return narrowed
