"""Connections and forks: a child must neither use nor close a connection of its parent.

On PostgreSQL it would talk into the parent's conversation with the server. On SQLite it inherits
the library's idea of which locks are held as well, so that even a new connection of its own is
not safe there; and closing one, which the mere end of the child does, rolls an open transaction
of the parent back in the memory that they share and breaks the file. So SQLite connections are
closed before the fork, and opened again when they are needed.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Something with connections, and with locks that another thread may hold at the fork."""

    def before_fork(self) -> None:
        """Wait until no thread is at work here, and let none begin."""

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; in a child without what is the parent's."""


_watched: WeakSet[Forkable] = WeakSet()
_prepared: list[Forkable] = []
_forking = threading.RLock()


def watch_forks(forkable: Forkable) -> None:
    """Prepare this for each fork of the process."""
    _watched.add(forkable)


def abandon(inherited: object) -> None:
    """Keep an object for ever, so that not even the end of the process closes it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _before() -> None:
    _forking.acquire()
    for forkable in list(_watched):
        forkable.before_fork()
        _prepared.append(forkable)


def _after(*, in_child: bool) -> None:
    while _prepared:
        _prepared.pop().after_fork(in_child=in_child)
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=lambda: _after(in_child=False),
        after_in_child=lambda: _after(in_child=True),
    )
