"""From where on whoever runs a database is told: in a worker's log, and on its dashboard."""

from __future__ import annotations

LONG_LOG = 64_000_000
"""Bytes of SQLite's write-ahead log that somebody must be keeping from being reused."""

HELD_TOO_LONG = 60.0
"""Seconds for which a transaction has been open, and with it whatever died since."""
