"""Steps that are done once, and waiting that holds no slot: checkpoints, no replay.

What only running handlers need, the modules `step` and `wait`, is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jobq._durable.book import Book
from jobq._durable.signals import Halted, Interruption, Leaving, Park

if TYPE_CHECKING:
    from jobq._durable import step, wait


def __getattr__(name: str) -> Any:
    if name in ("step", "wait"):
        return import_module(f"jobq._durable.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Book", "Halted", "Interruption", "Leaving", "Park", "step", "wait"]
