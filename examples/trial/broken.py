"""Run a program with a jobq that keeps no limits, or has no fence, to see that checks notice.

python -m examples.trial.broken limits,fence jobq worker examples.ai_worker.app:queue
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Generator
from typing import Any

from jobq import backends
from jobq._limits.admit import State
from jobq._worker.lease import LeaseKeeper
from jobq._worker.slots import Slots
from jobq.backends._tables import job
from jobq.backends.ops import artifacts


def without_limits() -> None:
    """Every limit lets everything start at once."""
    State.opening = lambda self, now, cost, head=None: now  # type: ignore[method-assign]


def without_fence() -> None:
    """A worker that has lost its jobs goes on with them, and what it writes is not refused."""
    complete: Callable[..., Generator[Any, Any, bool]] = backends.ops.complete

    def accepted(*args: Any, **kwargs: Any) -> Generator[Any, Any, bool]:
        yield from complete(*args, **kwargs)
        return True

    backends.ops.complete = accepted
    vars(artifacts)["held"] = lambda d, claims: job.c.id == d.id(claims.c.id)
    LeaseKeeper._fence_myself = lambda self: None  # type: ignore[method-assign]  # noqa: SLF001
    Slots.lost = lambda self, running: None  # type: ignore[method-assign]


BROKEN: dict[str, Callable[[], None]] = {"limits": without_limits, "fence": without_fence}


if __name__ == "__main__":
    broken, module = sys.argv[1].split(","), sys.argv[2]
    for name in broken:
        BROKEN[name]()
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
