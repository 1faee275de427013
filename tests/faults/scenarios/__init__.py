"""The scenarios, one file a group; importing them fills `lab.SCENARIOS`."""

from tests.faults.scenarios import (
    blocked,
    cancellation,
    contention,
    crashes,
    exits,
    restarts,
    shutdown,
    wakeups,
)

__all__ = [
    "blocked",
    "cancellation",
    "contention",
    "crashes",
    "exits",
    "restarts",
    "shutdown",
    "wakeups",
]
