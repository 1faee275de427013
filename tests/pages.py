"""Marked sections and tables of Markdown pages, for runs that write what they found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def between(page: str, begin: str, end: str, text: str, path: Path) -> str:
    """The page of a file, with the text put between its two marks."""
    before, begun, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise SystemExit(f"{path} has no lines {begin!r} and {end!r} to write between")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def lines(rows: Sequence[Sequence[str]]) -> str:
    """The rows of a Markdown table."""
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its head."""
    return lines([head, ["---"] * len(head), *rows])


def rows(text: str) -> list[tuple[str, ...]]:
    """The rows of the Markdown tables in a text, without their heads."""
    found: list[tuple[str, ...]] = []
    for line in text.splitlines():
        if not line.startswith("| "):
            continue
        cells = tuple(line.removeprefix("| ").removesuffix(" |").split(" | "))
        if set("".join(cells)) <= set("-:"):
            found.pop()  # what stands above is the head
        else:
            found.append(cells)
    return found


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("|", "\\|"))
