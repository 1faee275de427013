"""Values that callers give, checked: names, texts, priorities."""

from __future__ import annotations

from jobq._errors import OptionError

PRIORITIES = {"urgent": 100, "normal": 0, "batch": -100}


def priority_number(value: int | str) -> int:
    """The number of a priority given as a word (`urgent`, `normal`, `batch`) or an integer."""
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    if isinstance(value, int) and not isinstance(value, bool) and -32768 <= value <= 32767:
        return value
    raise OptionError(
        f"priority={value!r:.100} must be 'urgent', 'normal', 'batch' "
        f"or an integer from -32768 to 32767 (larger first)"
    )


def is_storable(value: str) -> bool:
    """Whether both databases can store a text."""
    try:
        return b"\x00" not in value.encode()
    except UnicodeEncodeError:
        return False


def short_text(value: str | None, name: str, *, limit: int = 500, at_least: int = 1) -> str | None:
    """The text of an option that may be left out, checked."""
    if value is None:
        return None
    if not isinstance(value, str) or not at_least <= len(value) <= limit:
        raise OptionError(
            f"{name} must be text of {at_least} to {limit} letters, not {value!r:.100}"
        )
    if not is_storable(value):
        raise OptionError(f"{name}={value!r:.100} has a NUL or a lone surrogate in it")
    return value


def queue_name(value: str) -> str:
    """The name of a queue, checked."""
    return short_text(value, "queue", limit=100) or "default"
