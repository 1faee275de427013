"""The four faults, played alike on every system."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import Factory, define, frozen

from tests.faults.proxy import Proxy
from tests.rivals.job import STEP
from tests.rivals.trial import DONE, NotAcknowledged, Process, Trial

PATIENCE = 45.0
"""Seconds until something counts as never happening; every time constant is at most 3 s."""
HALF_OPEN_PATIENCE = 90.0
OUTAGE = 3.0


@frozen
class Outcome:
    """What one trial saw."""

    text: str
    seconds: float | None = None
    counts: Counter[str] = Factory(Counter)


@frozen
class Fault:
    """A fault, and what its seconds measure."""

    name: str
    number: str
    done: str
    measured: str
    stores: tuple[str, ...]
    play: Callable[[Trial], Outcome]


FAULTS: dict[str, Fault] = {}


def fault(
    name: str, number: str, *, measured: str, stores: tuple[str, ...] = ("PostgreSQL", "SQLite")
) -> Callable[[Callable[[Trial], Outcome]], Callable[[Trial], Outcome]]:
    def register(play: Callable[[Trial], Outcome]) -> Callable[[Trial], Outcome]:
        done = " ".join((play.__doc__ or "").split())
        FAULTS[name] = Fault(name, number, done, measured, stores, play)
        return play

    return register


STATE = {
    "completed": "completed",
    "failed": "ended as failed",
    "cancelled": "ended as cancelled",
    "running": "left as running",
    "pending": "left as pending",
    "gone": "lost: neither queued nor completed",
    "unknown": "in an unknown state",
}


@fault("kill", "F1", measured="from the kill to the second start")
def kill(trial: Trial) -> Outcome:
    """`kill -9` of a worker in the middle of a job; a new worker is started in its place."""
    victim, heir = trial.victim_and_heir()
    id = trial.enqueue_for(victim, heir, "job", steps=2400, again=4)
    time.sleep(1.0)
    victim.kill()
    killed = time.monotonic()
    trial.supervise([victim, heir])
    again = trial.until(lambda: trial.noted("start", tag="job")[1:], PATIENCE)
    if not again:
        return Outcome(f"not run again within {PATIENCE:g} s, {STATE[trial.state(id)]}")
    state = trial.until_done(id, 20.0)
    return Outcome(f"run again, {STATE[state]}", again[0].at - killed)


@fault("zombie", "F6", measured="from the freeze to the other worker's start")
def zombie(trial: Trial) -> Outcome:
    """A worker is frozen (SIGSTOP) in the middle of a job until another has taken it over, and
    goes on (SIGCONT) while that one is at work."""
    victim, heir = trial.victim_and_heir()
    id = trial.enqueue_for(victim, heir, "job", steps=8, again=40)
    time.sleep(2 * STEP)
    trial.freeze(victim)
    froze = time.monotonic()
    taken = trial.until(lambda: trial.noted("start", tag="job")[1:], PATIENCE)
    victim.thaw()
    trial.until(lambda: _is_over(trial, victim), 20.0)
    if not taken:
        state = trial.until_done(id, 10.0)
        return Outcome(
            f"not taken over within {PATIENCE:g} s; the frozen worker went on, {STATE[state]}"
        )
    time.sleep(1.0)
    early = trial.state(id)
    text = f"taken over and {_late_outcome(trial, victim, heir, early)}"
    trial.until(lambda: _is_over(trial, heir), 20.0)
    state = trial.until_done(id, 20.0)
    runs = len(trial.noted("start", tag="job"))
    return Outcome(f"{text}; {STATE[state]} after {runs} runs", taken[0].at - froze)


def _is_over(trial: Trial, worker: Process) -> bool:
    """Whether the worker's handler has ended or was stopped."""
    ended = trial.noted("end", tag="job", by=worker)
    return bool(ended or trial.noted("stopped", tag="job", by=worker))


def _late_outcome(trial: Trial, victim: Process, heir: Process, state: str) -> str:
    """What became of the frozen worker's work, seen while the other is still at it."""
    if _is_over(trial, heir):
        return "the other worker's run was stopped when the frozen one woke"
    if trial.noted("stopped", tag="job", by=victim):
        return "the frozen worker's handler was stopped when it woke"
    if not trial.noted("end", tag="job", by=victim):
        return "the frozen worker's handler did not end"
    if state in DONE:
        return f"the late outcome stood ({state}) while the other worker was at work"
    return "the late outcome was refused"


@define
class Load:
    """Jobs enqueued one after the other by a client of its own."""

    trial: Trial
    acknowledged: dict[str, Any] = Factory(dict)
    refused: int = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        ending = threading.Event()
        thread = threading.Thread(target=self._run, args=(ending,))
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()

    def _run(self, ending: threading.Event) -> None:
        client = self.trial.start("client")
        number = 0
        while not ending.wait(0.05):
            number += 1
            tag = f"load {number}"
            try:
                id = client.ask("enqueue", {"tag": tag, "steps": 2}, timeout=10.0)
            except NotAcknowledged:
                self.refused += 1
                if not client.alive:
                    client = self.trial.start("client")
            else:
                self.acknowledged[tag] = id


@fault(
    "database-restart",
    "F9",
    measured="from the database's return to the next start",
    stores=("PostgreSQL",),
)
def database_restart(trial: Trial) -> Outcome:
    """PostgreSQL crashes (`pg_ctl stop -m immediate`) under load and comes back after 3 s; a worker
    process that ends is started again."""
    workers = [trial.ready(), trial.ready()]
    load = Load(trial)
    with load.running():
        assert trial.until(lambda: len(load.acknowledged) > 30 and _running(trial), 60.0)
        trial.server._end_process("immediate")
        hit = _running(trial)
        time.sleep(OUTAGE)
        trial.server._launch([trial.server.port])
        back = time.monotonic()
        started = trial.until(lambda: _next_start(trial, workers, back), PATIENCE)
        time.sleep(3.0)
        trial.supervise(workers)
    counts = _after_restart(trial, workers, load, hit)
    if started is None:
        return Outcome(f"no job was started within {PATIENCE:g} s", None, counts)
    ended = "worker processes ended and worked again once restarted"
    text = ended if trial.restarts else "workers came back by themselves"
    return Outcome(text, started - back, counts)


def _running(trial: Trial) -> int:
    """How many jobs are at work."""
    trial.histories.refresh()
    started = {event["tag"] for event in trial.histories.of("start")}
    return len(started - {event["tag"] for event in trial.histories.of("end", "stopped")})


def _next_start(trial: Trial, workers: list[Process], since: float) -> float | None:
    trial.supervise(workers)
    trial.histories.refresh()
    later = [event.at for event in trial.histories.of("start") if event.at > since]
    return min(later, default=None)


def _after_restart(trial: Trial, workers: list[Process], load: Load, hit: int) -> Counter[str]:
    """What became of the jobs that were acknowledged."""
    assert load.acknowledged, "nothing was acknowledged"
    states: dict[str, str] = {}

    def all_done() -> bool:
        trial.supervise(workers)
        for tag, id in load.acknowledged.items():
            if states.get(tag) not in DONE:
                states[tag] = _look(trial, id)
        time.sleep(0.5)
        return set(states.values()) <= {"completed"}

    trial.until(all_done, PATIENCE)
    runs = Counter(event["tag"] for event in trial.histories.of("start"))
    ended = {event["tag"] for event in trial.histories.of("end")}
    counts = Counter({"acknowledged": len(states), "running at the crash": hit})
    counts["run more than once"] = sum(runs[tag] > 1 for tag in states)
    counts["lost"] = 0
    for tag, state in states.items():
        if state == "gone":
            counts["run, but their outcome lost" if tag in ended else "lost"] += 1
        elif state != "completed":
            counts[STATE[state]] += 1
    return counts


def _look(trial: Trial, id: Any) -> str:
    try:
        return trial.state(id)
    except NotAcknowledged:
        trial.client.end()
        trial.client = trial.start("client")
        return "unknown"


@fault(
    "half-open",
    "F11",
    measured="from the freeze to the next job's start",
    stores=("PostgreSQL",),
)
def half_open(trial: Trial) -> Outcome:
    """The connections of the only worker fall silent in the middle of a job, while new ones work:
    there is no reset, and what is sent is acknowledged by TCP and goes nowhere. A worker process
    that ends is started again."""
    with Proxy(trial.url) as proxy:
        workers = [trial.ready(proxy.url)]
        running = trial.client.ask("enqueue", {"tag": "running", "steps": 8, "again": 8})
        assert trial.until(lambda: trial.noted("start", tag="running"), 20.0)
        proxy.forget()
        froze = time.monotonic()
        following = trial.client.ask("enqueue", {"tag": "next", "steps": 1})

        def next_start() -> list[Any]:
            trial.supervise(workers, proxy.url)
            return trial.noted("start", tag="next")

        started = trial.until(next_start, HALF_OPEN_PATIENCE)
        state = trial.until_done(running, 15.0)
        trial.until_done(following, 5.0)
    runs = len(trial.noted("start", tag="running"))
    forgotten = state == "gone" and trial.noted("end", tag="running")
    fate = "ended, but its outcome is lost" if forgotten else STATE[state]
    job = f"its running job {fate} after {runs} run{'s' * (runs > 1)}"
    if not started:
        return Outcome(f"not noticed within {HALF_OPEN_PATIENCE:g} s; {job}")
    ended = "the worker process ended and worked again once restarted"
    text = ended if trial.restarts else "the worker went on by itself"
    return Outcome(f"{text}; {job}", started[0].at - froze)
