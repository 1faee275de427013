"""How values look on a page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from jobq._masking import MASK, mask
from jobq._model import iso

LONGEST = 40_000
"""Letters of a payload, result or traceback that a page shows."""


def count(number: int, cap: int | None = None) -> str:
    """A number with its thousands apart; at a cap, "that many or more"."""
    return f"{cap:,}+" if cap is not None and number >= cap else f"{number:,}"


def span(seconds: float | None) -> str:
    """A duration in at most two units."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{max(0, seconds) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"
    return f"{hours // 24} d"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago something was, or in how long it will be."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    words = _rough(abs(seconds))
    return f"{words} ago" if seconds > 0 else f"in {words}"


def _rough(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def clock(moment: datetime | None) -> str:
    """An instant, exactly."""
    return "–" if moment is None else (iso(moment) or "").replace("T", " ").replace("Z", " UTC")


def pretty(value: Any, hidden: Iterable[str] = ()) -> str:
    """JSON for people, without secrets, and without the values of fields named in `hidden`."""
    names = frozenset(name.lower() for name in hidden)
    text = json.dumps(_without(value, names), indent=2, ensure_ascii=False)
    return shown(text)


def _without(value: Any, names: frozenset[str]) -> Any:
    if not names:
        return value
    if isinstance(value, dict):
        return {
            key: MASK if str(key).lower() in names else _without(item, names)
            for key, item in value.items()
        }
    return [_without(item, names) for item in value] if isinstance(value, list) else value


def shown(text: str | None) -> str:
    """A text without secrets, and not endless."""
    masked = mask(text or "")
    left = len(masked) - LONGEST
    return masked if left <= 0 else f"{masked[:LONGEST]}\n… {left:,} more letters"


def short_id(id: str) -> str:
    """The end of an id, which differs between jobs of one moment."""
    return id[-8:]


def first_line(text: str | None) -> str:
    """What a table shows of an error or a message."""
    return shown((text or "").strip().partition("\n")[0][:300])


def words(name: str) -> str:
    """A name as the words it is made of."""
    return name.replace("_", " ")


def money(micros: int) -> str:
    """Millionths of a dollar: whole cents from ten dollars on, as exact as it takes below."""
    if micros >= 10_000_000 or micros % 10_000 == 0:
        return f"${micros / 1_000_000:,.2f}"
    return f"${micros / 1_000_000:.6f}".rstrip("0")


def size(number: float) -> str:
    """Bytes."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
