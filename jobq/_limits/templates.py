"""Keys of limits with fields in them: `"tenant:{owner}"`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from string import Formatter
from typing import Any

from jobq._errors import ConfigurationError, OptionError

LONGEST = 200


@lru_cache(maxsize=1024)
def _parts(key: str) -> tuple[tuple[str, str | None], ...]:
    """(text, field) pairs."""
    parts = []
    for text, name, spec, conversion in Formatter().parse(key):
        if name is not None and (not name or spec or conversion or not _is_path(name)):
            raise ConfigurationError(
                f"the limit's key {key!r}: {{{name}}} is no field; use {{owner}}, {{type}}, "
                f"{{queue}}, {{metadata.name}}, or {{name}} of the payload"
            )
        parts.append((text, name))
    return tuple(parts)


def _is_path(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def check_template(key: object) -> None:
    """Raise `ConfigurationError` where a limit's key cannot be one."""
    if not isinstance(key, str) or not 1 <= len(key) <= LONGEST or key.startswith("@"):
        raise ConfigurationError(
            f"a limit's key is text of 1 to {LONGEST} letters (not beginning with @), not {key!r}"
        )
    if "\x00" in key or not key.isprintable():
        raise ConfigurationError(f"the limit's key {key!r} has unprintable letters in it")
    try:
        _parts(key)
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(f"the limit's key {key!r}: {error}") from None


def fields_of(key: str) -> set[str]:
    """The names of the fields in a key."""
    return {name for _, name in _parts(key) if name is not None}


def replaced(template: str, values: Mapping[str, str]) -> str:
    """The template with texts in place of its fields."""
    return "".join(text + ("" if name is None else values[name]) for text, name in _parts(template))


def fill(template: str, values: Mapping[str, Any]) -> str:
    """The key for one job: `values` has `owner`, `type`, `queue`, `metadata` and `payload`.

    Raises `OptionError` naming what is missing.
    """
    if "{" not in template and "}" not in template:
        return template
    filled = "".join(
        text + ("" if name is None else _value(template, name, values))
        for text, name in _parts(template)
    )
    if len(filled) > LONGEST:
        raise OptionError(f"the limit's key {template!r} becomes {len(filled)} letters long")
    return filled


def _value(template: str, name: str, values: Mapping[str, Any]) -> str:
    first, *rest = name.split(".")
    if first in ("metadata", "payload"):
        found, path = values.get(first), rest
    elif first in ("owner", "type", "queue") and not rest:
        found, path = values.get(first), []
    else:
        found, path = values.get("payload"), [first, *rest]
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        fix = f"; give {name}=…" if name == "owner" else ""
        raise OptionError(
            f"the limit {template!r} needs {{{name}}} as text or integer, "
            f"and it is {found!r:.100}{fix}"
        )
    text = str(found)
    if not text.isprintable():
        raise OptionError(f"the limit {template!r}: {name}={text!r:.100} is not printable")
    return text
