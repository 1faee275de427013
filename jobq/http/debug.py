"""Whether this is development: unset is production."""

from __future__ import annotations

import os
from collections.abc import Mapping


def is_true(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on")


def in_debug(*, app: bool = False, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the app is in its debug mode, or `JOBQ_DEBUG` says so."""
    return app or is_true(environ.get("JOBQ_DEBUG", ""))
