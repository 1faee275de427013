"""Keys that callers prove themselves with: several at a time, compared in constant time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from hmac import compare_digest

from jobq._errors import ConfigurationError
from jobq.http.messages import Request
from jobq.observe import logger

VARIABLES = ("JOB_PROCESSOR_API_KEY", "WORKER_SECRET", "CRON_SECRET")
"""Where the keys of the drive endpoint are looked for; commas separate several."""
SHORTEST = 16
IN_DEVELOPMENT = ("dev-secret-change-in-production", "your-secret-key", "your-secret-key-here")
"""What opens the drive endpoint in development, where no key is set."""
KNOWN_TO_ALL = frozenset(IN_DEVELOPMENT)
"""Placeholders that stand in published documents: they open nothing in production."""


class Keys:
    """The keys of one door."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = [keys] if isinstance(keys, str) else list(keys)
        if not self._keys or not all(isinstance(key, str) and key for key in self._keys):
            raise ConfigurationError("keys must be texts that are not empty")

    def usable(self, *, debug: bool) -> list[str]:
        """Those that may open the door. Outside of development a weak one opens nothing."""
        return usable(self._keys, debug=debug)


def usable(keys: Iterable[str], *, debug: bool) -> list[str]:
    """Those keys that are neither short nor known to all; in development all of them."""
    strong = []
    for key in keys:
        if debug or (len(key) >= SHORTEST and key not in KNOWN_TO_ALL):
            strong.append(key)
        else:
            logger.error(
                "a key is refused: it has fewer than %d letters, or stands in a document",
                SHORTEST,
            )
    return strong


def keys_of(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The keys of the drive endpoint that the environment names."""
    texts = [part.strip() for name in VARIABLES for part in environ.get(name, "").split(",")]
    return [text for text in texts if text]


def given_key(request: Request) -> str | None:
    """The key that a caller sent, if he sent one."""
    key = request.headers.get("x-api-key")
    if key:
        return key
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def fits(given: str, keys: Iterable[str]) -> bool:
    """Whether it is one of these. Every one is compared, so that time tells nothing."""
    wanted = given.encode("latin-1", "replace")
    found = False
    for key in keys:
        found |= compare_digest(wanted, key.encode())
    return found
