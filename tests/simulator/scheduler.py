"""Who goes next: one statement or transaction of one process at a time, and what goes wrong."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from attrs import define, field

from jobq._clock import SECOND
from jobq._errors import BackendError, BackendUnavailable
from jobq.backends._failures import translate
from jobq.backends._statement import Call, Row, marked
from jobq.backends.postgres.connections import rest_before
from tests.simulator.checker import Checker
from tests.simulator.clock import Loop, Time
from tests.simulator.databases import Database

Fault = Literal["lost", "unknown", "midway", "twice", "overtaken"]
FAULTS: tuple[Fault, ...] = ("lost", "unknown", "midway", "twice", "overtaken")
PATIENCE = 5.0


class Process:
    """One process: an event loop of its own, and its connections."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.loop = Loop(world.time, self)
        self.is_paused = self.is_dead = False
        world.processes.append(self)

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        return self.loop.create_task(work)

    async def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What a store does: send an op, and send it again while the connection is lost."""
        deadline = self.world.time.monotonic() + PATIENCE
        tries = 0
        while True:
            try:
                return await self.send(op, *args, **kwargs)
            except BackendUnavailable:
                rest = None if self.is_dead else rest_before(deadline, tries)
                if rest is None:
                    raise
                tries += 1
                if marked(op, "knows_again"):
                    kwargs = {**kwargs, "again": True}
                await asyncio.sleep(rest)

    async def send(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Send an op once."""
        if self.is_dead:
            raise BackendUnavailable("this process has died")
        sent = Sent(self, op, args, kwargs, self.loop.create_future())
        self.world.pending.append(sent)
        return await sent.answer

    def next_timer(self) -> float | None:
        return None if self.is_paused or self.is_dead else self.loop.next_timer()


@define(eq=False)
class Sent:
    """An op that was sent, and has not been answered."""

    process: Process
    op: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    answer: asyncio.Future[Any]
    statements: Any = None
    """The op, once it has begun."""
    call: Call | None = None

    def __repr__(self) -> str:
        return f"<{self.process.name}: {self.op.__name__}>"

    def tell(self, result: Any = None, error: BaseException | None = None) -> None:
        """Answer whoever sent it, if it still waits."""
        if self.answer.done() or self.process.is_dead:
            return
        if error is None:
            self.answer.set_result(result)
        else:
            self.answer.set_exception(error)


@define
class World:
    """Everything there is in one run."""

    time: Time
    database: Database
    checker: Checker
    processes: list[Process] = field(factory=list)
    pending: list[Sent] = field(factory=list)
    sent: int = 0
    """How many statements and transactions were executed."""
    injected: Counter[str] = field(factory=Counter)
    hits: Counter[str] = field(factory=Counter)
    """Faults of statements that somebody waited for, and, but for lost ones, that wrote."""

    def settle(self) -> None:
        for process in list(self.processes):
            if not (process.is_paused or process.is_dead):
                process.loop.settle()

    def pass_time(self, seconds: float) -> None:
        """Let time pass; what is due meanwhile happens in its order."""
        until = self.time.elapsed + round(seconds * SECOND)
        while (moment := self.next_timer()) is not None and moment <= until:
            self.time.elapsed = max(self.time.elapsed, moment)
            self.settle()
        self.time.elapsed = until
        self.settle()

    def next_timer(self) -> int | None:
        timers = [process.next_timer() for process in self.processes]
        moments = [timer for timer in timers if timer is not None]
        return math.ceil(min(moments) * SECOND) if moments else None

    def go(self, sent: Sent, fault: Fault | None = None) -> None:
        """Execute the next step of an op, with a fault if there is to be one."""
        was_awaited, changes = not sent.answer.done(), self.database.changes
        self._go(sent, fault)
        if fault is not None:
            self.injected[fault] += 1
            needs_change = fault not in ("lost", "overtaken")
            changed = self.database.changes != changes
            self.hits[fault] += was_awaited and (changed or not needs_change)

    def _go(self, sent: Sent, fault: Fault | None) -> None:
        if fault == "overtaken":  # the connection is lost, and the statement still under way
            sent.tell(error=BackendUnavailable("the connection was lost"))
            self.settle()
            return
        self.pending.remove(sent)
        if fault == "lost":
            sent.tell(error=BackendUnavailable("the statement was lost"))
        elif self.database.is_whole(sent.op):
            self._run_whole(sent, fault)
        else:
            self._step(sent, fault)
        self.settle()

    def _run_whole(self, sent: Sent, fault: Fault | None) -> None:
        is_atomic = self.database.is_atomic(sent.op)
        if is_atomic:
            self.database.begin()
        result, error = self._drive(sent, most=1 if fault == "midway" else None)
        if is_atomic:
            (self.database.commit if error is None else self.database.rollback)()
        self._answered(sent, fault, result, error)

    def _step(self, sent: Sent, fault: Fault | None) -> None:
        """One statement, which commits by itself."""
        if fault == "midway":
            fault = "unknown"
        if sent.statements is None:
            sent.statements = sent.op(self.database.dialect, *sent.args, **sent.kwargs)
        try:
            if sent.call is None:
                sent.call = next(sent.statements)
            rows = self._execute(sent.call)
            sent.call = sent.statements.send(rows)
        except StopIteration as stop:
            self._answered(sent, fault, stop.value, None)
        except Exception as error:  # noqa: BLE001  the process is told
            self._answered(sent, fault, None, error)
        else:
            if fault is None:
                self.pending.insert(0, sent)
            else:
                self._answered(sent, fault, None, BackendUnavailable("the connection was lost"))

    def _drive(self, sent: Sent, most: int | None) -> tuple[Any, BaseException | None]:
        op = sent.op(self.database.dialect, *sent.args, **sent.kwargs)
        try:
            call = next(op)
            while True:
                rows = self._execute(call)
                if most is not None:
                    most -= 1
                    if most == 0:
                        return None, BackendUnavailable("the connection was lost")
                call = op.send(rows)
        except StopIteration as stop:
            return stop.value, None
        except Exception as error:  # noqa: BLE001  the process is told
            return None, error
        finally:
            op.close()

    def _execute(self, call: Call) -> list[Row]:
        self.sent += 1
        if "now" in call.params:  # the database's clock, when it gets to the statement
            call.params["now"] = self.time.database
        return self.database.execute(call)

    def _answered(
        self, sent: Sent, fault: Fault | None, result: Any, error: BaseException | None
    ) -> None:
        """Check what the step has done, then tell the process what it is to know of it."""
        failure = None if error is None else translate(error) or error
        was_answered = sent.answer.done() or sent.process.is_dead
        self.checker.stepped(sent, result, failure, late=was_answered)
        if fault == "unknown" and not isinstance(failure, BackendError):
            failure = BackendUnavailable("the answer was lost")
        if fault == "twice" and failure is None:
            again = {"again": True} if marked(sent.op, "knows_again") else {}
            kwargs = {**sent.kwargs, **again}
            second = Sent(sent.process, sent.op, sent.args, kwargs, sent.answer)
            self.pending.insert(0, second)
            return
        sent.tell(result, failure)
        if failure is None and not was_answered:
            self.checker.answered(sent, result)
