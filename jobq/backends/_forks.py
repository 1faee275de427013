"""What becomes of connections when a process forks: they stay the parent's.

A child that used one would talk into the parent's conversation with the server. Closing a SQLite
connection is no better, and a process does so merely by ending: an open transaction of the
parent would be rolled back in the memory that both share, and its file would be broken.
"""

from __future__ import annotations

import ctypes
import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """A store that has connections, and locks that another thread may hold at the fork."""

    def forked(self) -> None:
        """In a child: start anew, and let go of what is the parent's."""


_stores: WeakSet[Forkable] = WeakSet()


def watch_forks(store: Forkable) -> None:
    """Call `store.forked` in each child of this process, before anything else happens there."""
    _stores.add(store)


def abandon(inherited: object) -> None:
    """Keep an object for ever, even at the end of the process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _tell_stores() -> None:
    for store in list(_stores):
        store.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell_stores)
