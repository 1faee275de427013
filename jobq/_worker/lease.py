"""Keep the leases of held jobs alive, from a thread that a blocked event loop cannot stop."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
import traceback as tracebacks
from collections.abc import Callable
from typing import Any

from jobq import backends
from jobq._clock import SECOND
from jobq._errors import JobqError
from jobq._worker.running import Running
from jobq._worker.tally import Tally
from jobq.observe import logger

EXIT_BLOCKED = 70
"""The exit code of a worker whose event loop is blocked for good (EX_SOFTWARE)."""


class LeaseKeeper(threading.Thread):
    """Renews the leases of everything held, in one statement, with a connection of its own.

    `held` gives the running jobs, `lasting` how long a lease is to last that is renewed now, at
    most `lease` seconds; the callbacks run in the event loop: `lost` for a job that is
    no longer ours (or could not be renewed in time), `cancelled` for one asked to stop, `failed`
    if the thread itself cannot go on.
    """

    def __init__(
        self,
        store: backends.Store,
        *,
        lease: float,
        lasting: Callable[[], float],
        margin: float,
        held: Callable[[], list[Running]],
        report: Callable[[], dict[str, Any]],
        tally: Tally,
        in_loop: Callable[..., None],
        lost: Callable[[Running], None],
        cancelled: Callable[[Running], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        super().__init__(name="jobq lease keeper", daemon=True)
        self._store = store
        self._lease = lease
        self._lasting = lasting
        self._margin = margin
        self._held = held
        self._report = report
        self._tally = tally
        self._in_loop = in_loop
        self._lost = lost
        self._cancelled = cancelled
        self._failed = failed
        self._stopping = threading.Event()
        self._asked_at = self._ticked_at = time.monotonic()
        """When the event loop was asked for a sign of life, and when it gave the last one."""
        self._loop_thread = threading.get_ident()
        self._complained = False

    @property
    def interval(self) -> float:
        """Seconds between two renewals."""
        return self._lease / 3

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        self._in_loop(self._fence_myself)
        rest = 0.0
        try:
            while not self._stopping.wait(rest):
                rest = self._round()
                self._watch_the_loop()
        except BaseException as error:  # noqa: BLE001  nobody waits for a thread's end
            self._in_loop(self._failed, self.name, error)
        finally:
            self._store.close()

    def _round(self) -> float:
        """Renew, and say that we live; the seconds to rest then."""
        began = time.monotonic()
        try:
            self._renew()
            self._beat()
        except JobqError as error:
            logger.warning("cannot renew leases: %s", error)
        except Exception:  # noqa: BLE001  whatever it is, leases must go on being renewed
            logger.exception("the lease keeper failed; it goes on")
        else:
            return max(0.0, began + self.interval - time.monotonic())
        return min(1.0, self.interval / 4) * random.uniform(0.5, 1.0)

    def _beat(self) -> None:
        """Say that we live, and what became of the attempts since the last time."""
        stats = self._tally.take()
        try:
            self._store.run(backends.ops.heartbeat, stats=stats, **self._report())
        except BaseException:
            self._tally.put_back(stats)
            raise

    def _renew(self) -> None:
        held = self._held()
        if not held:
            return
        asked_at = time.monotonic()
        by_id = {running.job.id: running for running in held}
        renewals = self._store.run(
            backends.ops.renew,
            [(running.job.id, running.job.fence) for running in held],
            lease=round(self._lasting() * SECOND),
            margin=round(self._margin * SECOND),
        )
        for renewal in renewals:
            running = by_id[renewal.id]
            if not renewal.held:
                self._in_loop(self._lost, running)
                continue
            running.renewed_at = max(running.renewed_at, asked_at)
            # One that was claimed in order to be cancelled is at that already.
            if renewal.cancel_requested and not (running.stopping or running.job.cancel_requested):
                self._in_loop(self._cancelled, running)

    def _fence_myself(self) -> None:
        """Stop handlers whose lease could not be renewed, before it ends and others take over.

        In the event loop, because this thread may be waiting for the database at that moment.
        """
        if self._stopping.is_set():
            return
        notice = min(1.0, self._lease / 10)
        asyncio.get_running_loop().call_later(notice / 2, self._fence_myself)
        latest = time.monotonic() - self._lease + notice
        for running in self._held():
            if running.renewed_at < latest and running.stopping != "lease":
                self._lost(running)

    def _watch_the_loop(self) -> None:
        """Say which handler blocks the event loop; past its deadline the process is of no use."""
        now = time.monotonic()
        if self._ticked_at >= self._asked_at:
            self._complained = False
            self._asked_at = now
            self._in_loop(self._tick)
            return
        blocked = now - self._asked_at
        if blocked < max(2 * self.interval, 1.0):
            return
        running = [r for r in self._held() if r.handler.is_async and not r.finishing]
        names = ", ".join(sorted({r.name for r in running})) or "something"
        if not self._complained:
            self._complained = True
            logger.error(
                "the event loop has been blocked for %.0f s by %s:\n%s",
                blocked,
                names,
                self._stack(),
            )
        overdue = [r for r in running if self._is_overdue(r, now)]
        if overdue:
            logger.critical("blocked past the deadline, ending the process: %s", names)
            sys.stderr.flush()
            os._exit(EXIT_BLOCKED)

    def _is_overdue(self, running: Running, now: float) -> bool:
        timeout = running.job.timeout_ms / 1000
        return bool(timeout) and now > running.started_at + timeout + self._margin

    def _tick(self) -> None:
        self._ticked_at = time.monotonic()

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  no other way
        return "".join(tracebacks.format_stack(frame)) if frame else ""
