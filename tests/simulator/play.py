"""Play a script: the processes, what is done to them, and the recovery at the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any
from uuid import UUID

import jobq
from jobq import _enqueue
from jobq._clock import to_datetime
from jobq._model import LIVE
from jobq.backends import ops
from tests.simulator.checker import Checker
from tests.simulator.clock import Time, virtual
from tests.simulator.databases import Database
from tests.simulator.processes import DAILY, KNOWN, STRANGER, Attempt, Caller, WorkerProcess
from tests.simulator.scheduler import Fault, Process, World
from tests.simulator.script import Script

SECOND = 1_000_000
MOST_STEPS = 6000
"""More statements than that in one run are a loop."""
PATIENCE = 7200
"""Seconds in which everything must have come to its end after the last fault."""
KEYS = (None, None, None, "a", "b")


class BrokenPromise(AssertionError):
    """Something that must always hold did not."""


class Play:
    """One run of a script."""

    def __init__(self, time: Time, database: Database, *, joins_claims: bool = True) -> None:
        self.world = World(time, database, Checker(database))
        self._joins_claims = joins_claims
        self._ids = 0
        self._workers = [self._worker(), self._worker()]
        self._knowing = Caller(self.world, "knowing", knows=True)
        self._unknowing = Caller(self.world, "unknowing", knows=False)
        self.done: list[str] = []

    def _worker(self) -> WorkerProcess:
        name = f"w{len(self.world.processes)}"
        return WorkerProcess(self.world, name, joins_claims=self._joins_claims)

    def new_id(self) -> str:
        self._ids += 1
        return str(UUID(int=self._ids))

    def run(self, script: Script) -> None:
        """Play it to its end, and then let the workers end everything."""
        random.seed(len(script))
        before = vars(_enqueue)["new_id"]
        vars(_enqueue)["new_id"] = self.new_id
        try:
            with virtual(self.world.time):
                try:
                    self.world.settle()
                    for action in script:
                        self._act(*action)
                    self._recover()
                finally:
                    self._take_apart()
        finally:
            vars(_enqueue)["new_id"] = before

    def _act(self, name: str, *arguments: Any) -> None:
        self.done.append(f"{name} {arguments}")
        getattr(self, name)(*arguments)
        self.world.settle()
        self._check()

    # --- actions --------------------------------------------------------------------------------

    def enqueue(
        self,
        kind: int,
        knows: bool,
        cost: int,
        key: int,
        delay: int,
        priority: int,
        attempts: int,
        life: int,
    ) -> None:
        """Enqueue a job, as a process does that knows the handlers, or one that does not."""
        type = (*KNOWN, STRANGER)[kind % (len(KNOWN) + 1)]
        caller = self._knowing if knows else self._unknowing
        caller.call(
            "enqueue",
            type,
            {"cost": cost},
            unique_key=KEYS[key % len(KEYS)],
            delay=delay or None,
            priority=priority,
            max_attempts=attempts or None,
            expires_at=to_datetime(self.world.time.database + life * SECOND) if life else None,
        )

    def go(self, count: int) -> None:
        """Let the statements that have waited longest be executed."""
        for _ in range(count):
            sent = self._choose(0)
            if sent is not None:
                self.world.go(sent)

    def send(self, index: int, fault: Fault | None) -> None:
        """Let any statement be executed, out of turn or not as it should."""
        sent = self._choose(index)
        if sent is not None:
            self.done[-1] += f" {sent}"
            self.world.go(sent, fault)

    def _choose(self, index: int) -> Any:
        waiting = [sent for sent in self.world.pending if not sent.process.is_paused]
        return waiting[index % len(waiting)] if waiting else None

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.pass_time(seconds)

    def jump(self, seconds: int) -> None:
        """The database's clock is set."""
        self.world.time.offset += seconds * SECOND

    def end(self, index: int, how: str) -> None:
        """A handler ends, or does something."""
        attempts = self._attempts()
        if attempts:
            attempt = attempts[index % len(attempts)]
            if not attempt.end.done():
                self.done[-1] += f" {attempt.job.id[-2:]}"
                attempt.end.set_result(how)

    def record(self, index: int, how: str) -> None:
        """A handler does a step, or begins to wait."""
        self.end(index, how)

    def _attempts(self) -> list[Attempt]:
        workers = [w for w in self._workers if not w.is_paused]
        return [attempt for worker in workers for attempt in worker.attempts]

    def _all_attempts(self) -> list[Attempt]:
        workers = [w for w in self.world.processes if isinstance(w, WorkerProcess)]
        return [attempt for w in workers if not w.is_dead for attempt in w.attempts]

    def crash(self, index: int) -> None:
        """A worker dies with all it knows; what it had sent may still arrive. Another comes."""
        at = index % len(self._workers)
        self._workers[at].is_dead = True
        self._workers[at] = self._worker()

    def pause(self, index: int) -> None:
        """A worker stands still, and so does what it was to send."""
        self._workers[index % len(self._workers)].is_paused = True

    def resume(self, index: int) -> None:
        """It goes on, with what it knew."""
        self._workers[index % len(self._workers)].is_paused = False

    def oversleep(self, index: int, how: str) -> None:
        """A handler ends, and its worker stands still before its outcome has left."""
        attempts = self._attempts()
        if not attempts:
            return
        process = attempts[index % len(attempts)].process
        self.end(index, how)
        self.world.settle()
        process.is_paused = True
        self.wait(11.0)
        self.go(12)
        process.is_paused = False

    def awake_late(self, index: int, how: str) -> None:
        """The same; its job is rescued and not yet begun anew when the outcome arrives."""
        attempts = self._attempts()
        if not attempts:
            return
        process = attempts[index % len(attempts)].process
        self.end(index, how)
        self.world.settle()
        process.is_paused = True
        self.wait(11.0)
        self._go_all(lambda sent: sent.op is ops.rescue and not sent.process.is_paused)
        process.is_paused = False
        self._go_all(lambda sent: sent.process is process)

    def doze(self, index: int) -> None:
        """A worker stands still between a claim's commit and its answer, others do not."""
        joined = (ops.finish_and_claim, ops.complete_and_claim)
        claims = (ops.claim, ops.claim_limited, *joined)
        waiting = [
            sent for sent in self.world.pending if sent.op in claims and not sent.process.is_paused
        ]
        if not waiting:
            return
        process = waiting[index % len(waiting)].process
        self._go_all(lambda sent: sent is waiting[index % len(waiting)], falls_asleep=True)
        self.wait((0.5, 3.0, 11.0)[index % 3])
        self.go(12)
        process.is_paused = False

    def _go_all(self, chosen: Callable[[Any], bool], *, falls_asleep: bool = False) -> None:
        """Let the statements be executed that have been sent so far."""
        for sent in [sent for sent in self.world.pending if chosen(sent)]:
            while sent in self.world.pending:
                sent.process.is_paused |= falls_asleep
                self.world.go(sent)

    def stop(self, index: int) -> None:
        """A worker ends gracefully; another comes."""
        at = index % len(self._workers)
        self._workers[at].stop()
        self._workers[at] = self._worker()

    def hint(self) -> None:
        """Workers are told that there may be jobs."""
        for worker in self._workers:
            worker.hint()

    def operate(self, verb: str, index: int) -> None:
        """Somebody moves a job by hand."""
        ids = sorted(self.world.checker.jobs)
        if not ids:
            return
        options: dict[str, Any] = {}
        if verb == "reschedule":
            options = {"delay": index % 3 * 10, "priority": index % 2}
        if verb == "set_status":
            options = {"status": ("completed", "failed", "cancelled")[index % 3]}
        self._knowing.call(verb, ids[index % len(ids)], **options)

    def limit(self, what: int) -> None:
        """Somebody changes or closes a limit, or a queue."""
        call = self._knowing.call
        match what % 7:
            case 0:
                call("set_limit", jobq.Concurrency("places", 2))
            case 1:
                call("set_limit", jobq.Concurrency("places", 1))
            case 2:
                call("set_limit", jobq.RateLimit("rate", 5, per=10, max_cost=2))
            case 3:
                call("set_limit", jobq.RateLimit("rate", 2, per=10, max_cost=2))
            case 4:
                call("pause_limit", "rate", reason="by hand")
            case 5:
                call("resume_limit", "rate")
            case 6:
                call("pause", "default")

    # --- the end --------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Faults stop; whoever lives goes on, and every job must come to its end."""
        self.done.append("recover")
        for process in self.world.processes:
            process.is_paused = False
        for _ in range(3):  # a pause that was lost is sent again: not after the resume
            self.go(64)
            self.wait(1.0)
        self._knowing.call("resume", "default")
        self._knowing.call("resume_limit", "rate")
        self._knowing.call("set_limit", jobq.DailyQuota("daily", 1000, tz=DAILY.tz))
        until = self.world.time.elapsed + PATIENCE * SECOND
        while not self._is_over() and self.world.time.elapsed < until:
            self._advance()
            self._check()
        self.world.checker.ended(STRANGER)
        self._check()

    def _check(self) -> None:
        polls = self.world.sent > MOST_STEPS
        self.world.checker.must(not polls, "nobody polls a closed door", self.world.sent)
        for attempt in self._attempts():
            self.world.checker.holds(attempt.job._attempt, self.world.time)  # type: ignore[arg-type]
        if self.world.checker.broken:
            raise BrokenPromise("\n".join([*self.done[-12:], *self.world.checker.broken]))

    def _advance(self) -> None:
        """The next thing that happens by itself."""
        self.world.settle()
        if self.world.pending:
            self.world.go(self.world.pending[0])
            return
        running = [attempt for attempt in self._all_attempts() if not attempt.end.done()]
        if running:
            running[0].end.set_result("returns")
            return
        moment = self.world.next_timer()
        if moment is not None:
            self.world.pass_time(max(0.0, (moment - self.world.time.elapsed) / SECOND))

    def _is_over(self) -> bool:
        jobs = self.world.checker.jobs.values()
        live = [job for job in jobs if job["status"] in LIVE]
        return not self.world.pending and all(job["type"] == STRANGER for job in live)

    def _take_apart(self) -> None:
        """End what the processes were doing, without a database."""
        self.world.pending.clear()
        for process in self.world.processes:
            process.is_dead = True
            self._dispose(process)

    def _dispose(self, process: Process) -> None:
        for _ in range(50):
            tasks = asyncio.all_tasks(process.loop)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            process.loop.settle()
            self.world.time.elapsed += SECOND
        process.loop.close()
