"""The table of a check: what was expected, what came, and whether that will do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    check: str
    expected: str
    got: str
    met: bool


@dataclass
class Table:
    rows: list[Row] = field(default_factory=list)

    def equal(self, check: str, expected: Any, got: Any) -> None:
        self._add(check, _text(expected), got, met=expected == got)

    def at_most(self, check: str, bound: float, got: float, unit: str = "") -> None:
        self._add(check, f"≤ {bound:g}{unit}", got, unit, met=got <= bound)

    def at_least(self, check: str, bound: float, got: float, unit: str = "") -> None:
        self._add(check, f"≥ {bound:g}{unit}", got, unit, met=got >= bound)

    def between(self, check: str, least: float, most: float, got: float, unit: str = "") -> None:
        self._add(check, f"{least:g} … {most:g}{unit}", got, unit, met=least <= got <= most)

    def _add(self, check: str, expected: str, got: Any, unit: str = "", *, met: bool) -> None:
        self.rows.append(Row(check, expected, _text(got) + unit, met))

    @property
    def missed(self) -> list[str]:
        """The checks whose number was not the expected one."""
        return [row.check for row in self.rows if not row.met]

    def __str__(self) -> str:
        lines = [("check", "expected", "got", "")]
        lines += [(r.check, r.expected, r.got, "" if r.met else "MISSED") for r in self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(3)]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(line, [*widths, 0], strict=True))
            for line in lines
        )


def _text(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
