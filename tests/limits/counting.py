"""Counts the statements of a process by the op that sends them, and halts it between two.

The drivers of ops are wrapped where the stores call them, so what is counted is what is executed;
BEGIN and COMMIT are not among it.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from jobq._worker.claimer import Claimer
from jobq.backends.postgres import aio
from jobq.backends.sqlite import writer

Hook = Callable[[str, int], None]
"""Called after each statement of an op with the op's name and the statement's number, from 0."""
_LIMITS = re.compile(r"\bjobq_limit\b")
_WATCH = "_data_version"
"""Asks SQLite, 50 times a second, whether anybody has written: no statement on any table."""


class Statements:
    """What this process has executed since it began."""

    def __init__(self, hook: Hook = lambda *_: None) -> None:
        self.ops: Counter[str] = Counter()
        """How often each op was run."""
        self.executed: Counter[str] = Counter()
        """Statements, by op."""
        self.on_limits: Counter[str] = Counter()
        """Those of them that touch the limits' table."""
        self.wakes = 0
        """How often something told the claimer to look."""
        self._hook = hook
        self._lock = threading.Lock()

    def install(self) -> None:
        """Count from now on, for as long as the process lives."""
        drive, drive_async, wake = writer.drive, aio.drive_async, Claimer.wake

        def counted(op: Any, execute: Callable[[Any], Any]) -> Any:
            count = self._counter(op)

            def executed(call: Any) -> Any:
                rows = execute(call)
                count(call)
                return rows

            return drive(op, executed)

        async def counted_async(op: Any, execute: Callable[[Any], Awaitable[Any]]) -> Any:
            count = self._counter(op)

            async def executed(call: Any) -> Any:
                rows = await execute(call)
                count(call)
                return rows

            return await drive_async(op, executed)

        def counted_wake(claimer: Claimer) -> None:
            self.wakes += 1
            wake(claimer)

        writer.drive, aio.drive_async = counted, counted_async  # type: ignore[assignment]
        Claimer.wake = counted_wake  # type: ignore[method-assign]

    def _counter(self, op: Any) -> Callable[[Any], None]:
        name, number = op.__name__, -1
        with self._lock:
            self.ops[name] += 1

        def count(call: Any) -> None:
            nonlocal number
            number += 1
            if name == _WATCH:
                return
            with self._lock:
                self.executed[name] += 1
                self.on_limits[name] += bool(_LIMITS.search(call.sql))
            self._hook(name, number)

        return count

    def facts(self) -> dict[str, Any]:
        """The counts, as they can be written down."""
        with self._lock:
            return {
                "ops": dict(self.ops),
                "executed": dict(self.executed),
                "on_limits": dict(self.on_limits),
                "wakes": self.wakes,
            }
