"""The rows of the table, a file a group; each is registered by its name when it is imported."""

from importlib import import_module

GROUPS = (
    "enqueue",
    "drain",
    "batch",
    "slow_commits",
    "pickup",
    "sleepers",
    "backlogs",
    "limits",
    "provider",
    "idle",
    "memory",
    "startup",
    "growth",
)

for _group in GROUPS:  # in the order of the table
    import_module(f"benchmarks.rows.{_group}")
