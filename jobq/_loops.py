"""Whether an event loop runs here."""

from __future__ import annotations

import sys


def in_event_loop() -> bool:
    """Whether this thread runs one."""
    # No `except` of the error that `get_running_loop` raises: it would be the context of whatever
    # is raised later. And no import of asyncio where nobody has needed it yet.
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001
