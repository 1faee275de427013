"""Public addresses of artifacts."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from jobq._errors import ConfigurationError


def base_url_of(value: Any) -> str | None:
    """The address that public ones begin with: of this server (`/media`), or a whole one."""
    if value is None:
        return None
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.query or parts.fragment or not (_is_whole(value) or value[:1] == "/"):
        raise ConfigurationError(
            f"base_url={value!r:.200} must be as 'https://cdn.example.com/images' or '/media'"
        )
    return str(value).rstrip("/")


def _is_whole(value: str) -> bool:
    parts = urlsplit(value)
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def below(base_url: str | None, key: str) -> str | None:
    """The address of a key."""
    return None if base_url is None else f"{base_url}/{quote(key)}"
