"""Where a scenario is played: one database, its actors, their histories."""

from __future__ import annotations

import itertools
import random
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from attrs import Factory, define, field, frozen

import jobq
from jobq.testing._postgres import PostgresServer
from tests.faults import checker
from tests.faults.actors import Actor, NeverHappened
from tests.faults.app import router
from tests.faults.checker import Check
from tests.faults.history import Event, Histories, History

T = TypeVar("T")
Size = Literal["full", "quick", "tiny"]
POLL = 0.02


@define
class Findings:
    """What a scenario saw: how often it tried, how often the fault hit, and what that broke."""

    trials: int = 0
    hits: int = 0
    checks: list[Check] = Factory(list)
    figures: dict[str, Any] = Factory(dict)
    not_run: str = ""
    """Why this machine cannot play it."""

    def check(self, *checks: Check) -> None:
        self.checks += checks

    @property
    def misses(self) -> list[Check]:
        return [check for check in self.checks if not check.holds]


class NotHere(Exception):
    """This machine cannot inject the fault; the text says why."""


@frozen(kw_only=True)
class Sizes:
    """A number for each size of run."""

    full: Any
    quick: Any
    tiny: Any


class Lab:
    """A `with` block that ends every process it started."""

    def __init__(
        self, url: str, folder: Path, size: Size = "full", server: PostgresServer | None = None
    ) -> None:
        self.url = url
        self.folder = folder
        self.size = size
        self.server = server
        self.random = random.Random(20260101)  # the faults' order; what they hit is up to the race
        self.histories = Histories(folder)
        self.history = History(folder, "lab")
        self.queue = jobq.Queue(url, router=router)
        self._actors: list[Actor] = []
        self._numbers: dict[str, itertools.count[int]] = {}

    @property
    def is_postgres(self) -> bool:
        return not self.url.startswith("sqlite")

    def choose(self, *, full: T, quick: T, tiny: T) -> T:
        """The number for this size of run."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.size]

    def __enter__(self) -> Self:
        self.queue.migrate()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for actor in self._actors:
            actor.end()
        self.queue.close()
        self.history.close()

    # --- actors ------------------------------------------------------------------------------

    def actor(
        self,
        role: str,
        name: str | None = None,
        *,
        kind: type[Actor] = Actor,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Actor:
        """Start a process in one of the roles of `tests.faults.app`, or of another app."""
        base = name or role
        number = next(self._numbers.setdefault(base, itertools.count(1)))
        options = {"url": self.url, **options}
        actor = kind(role, f"{base}.{number}", self.folder, environment, **options)
        self._actors.append(actor)
        return actor

    def worker(self, name: str = "worker", **options: Any) -> Actor:
        """Start a worker; `options` are those of `jobq.Worker`, and the app's own."""
        return self.actor("worker", name, **options)

    def workers(self, count: int, **options: Any) -> list[Actor]:
        """Start several workers and wait until all are ready."""
        started = [self.worker(f"worker-{n}", **options) for n in range(count)]
        self.await_ready(started)
        return started

    def await_ready(self, actors: Iterable[Actor], timeout: float = 30.0) -> None:
        """Wait until each of these has said that it is ready."""
        names = {actor.name for actor in actors}

        def all_ready() -> bool:
            self.histories.refresh()
            return names <= {event.actor for event in self.histories.of("ready")}

        self.until(all_ready, timeout, f"{sorted(names)} are ready")

    def stop(self, actors: Iterable[Actor], timeout: float = 30.0) -> Check:
        """End actors gracefully."""
        ending = list(actors)
        for actor in ending:
            if actor.alive:
                actor.terminate()
        codes = {actor.name: actor.wait(timeout)[0] for actor in ending}
        return checker.each("a worker ends with code 0", codes.items(), lambda item: item[1] == 0)

    def freeze(self, worker: Actor) -> None:
        """Freeze a worker between two transactions: SQLite's lock would stop everybody."""
        for _ in range(100):
            worker.freeze()
            time.sleep(0.05)
            if not self.is_locked():
                return
            worker.thaw()
            time.sleep(0.01)
        raise AssertionError("the worker holds the write lock all the time")

    # --- waiting -----------------------------------------------------------------------------

    @staticmethod
    def now() -> float:
        """The clock of the histories."""
        return time.monotonic()

    def until(self, condition: Callable[[], T], timeout: float, what: str) -> T:
        """Wait for a condition; `NeverHappened` says what did not come about."""
        deadline = time.monotonic() + timeout
        while not (met := condition()):
            if time.monotonic() > deadline:
                raise NeverHappened(f"within {timeout:g} s: {what}{self._last_words()}")
            time.sleep(POLL)
        return met

    def until_noted(
        self,
        event: str,
        count: int,
        by: Actor | None = None,
        timeout: float = 30.0,
        jobs: Collection[str] | None = None,
    ) -> None:
        """Wait until an event was noted so often: by one actor or all, of some jobs or any."""

        def fits(one: Event) -> bool:
            theirs = by is None or one.actor == by.name
            return theirs and (jobs is None or one["job"] in jobs)

        def enough() -> bool:
            self.histories.refresh()
            return len(self.histories.of(event, where=fits)) >= count

        self.until(enough, timeout, f"{by.name if by else 'actors'} note {event!r} x{count}")

    def until_finished(self, timeout: float) -> None:
        """The liveness phase: wait until no job is open any more."""
        self.until(self.all_finished, timeout, "all jobs are finished")

    def all_finished(self) -> bool:
        """Whether no job is open any more."""
        sql = (
            "SELECT count(*) FROM jobq_job WHERE status NOT IN ('completed', 'failed', 'cancelled')"
        )
        return self.sql(sql) == [(0,)]

    def until_jobs_end_again(self, since: float) -> float:
        """Wait until a job that was started after a moment has ended; the seconds between."""

        def one_has_ended() -> bool:
            self.histories.refresh()
            started = {e["job"] for e in self.histories.of("start") if e.at > since}
            return any(e["job"] in started for e in self.histories.of("end"))

        self.until(one_has_ended, 60, "jobs run again")
        return self.now() - since

    def _last_words(self) -> str:
        lines = [
            f"\n  {actor.name}: {line}"
            for actor in self._actors
            for line in actor.errors().splitlines()[-3:]
        ]
        return "".join(lines[-15:])

    def in_time(self, invariant: str, seconds: Iterable[float], bound: float) -> Check:
        """Times are judged in the larger runs only: the tests share their machine."""
        judged = [] if self.size == "tiny" else seconds
        return checker.each(invariant, judged, lambda one: one < bound)

    # --- the database ------------------------------------------------------------------------

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement past jobq."""
        return checker.query(self.url, statement)

    def enqueue_many(self, type: str, payloads: Iterable[Any], **options: Any) -> list[str]:
        """Enqueue jobs, and note those that were acknowledged."""
        outcomes = self.queue.enqueue_many((type, payload, options) for payload in payloads)
        ids = [outcome.job.id for outcome in outcomes if outcome.job is not None]
        self.history.note("enqueued", ids=ids)
        return ids

    def renewals(self) -> list[float]:
        """When the renewals that succeeded were asked for."""
        self.histories.refresh()
        beats = self.histories.of("beat", where=lambda e: e["op"] == "renew" and e["well"])
        return [event.at - event["seconds"] for event in beats]

    def acknowledged(self) -> list[str]:
        """The jobs that an enqueuer was told are stored."""
        self.histories.refresh()
        return [id for event in self.histories.of("enqueued") for id in event["ids"]]

    def enqueues_told(self) -> dict[str, int]:
        """What enqueuers were told, and how often, as figures of a result."""
        self.histories.refresh()
        told = {name: len(self.histories.of(name)) for name in ("unknown", "refused")}
        return {"acknowledged": len(self.acknowledged()), **told}

    def is_locked(self) -> bool:
        """Whether somebody holds SQLite's write lock at this moment."""
        return not self.is_postgres and checker.is_locked(self.url)


Play = Callable[[Lab], Findings]


@frozen(kw_only=True)
class Scenario:
    """A named fault, how it is played, and how often it has to hit to count."""

    name: str
    promise: str
    play: Play
    databases: tuple[str, ...] = ("sqlite", "postgresql")
    codes: tuple[str, ...] = ()
    """The faults of the matrix that it injects."""
    in_quick: bool = False
    """Whether the quick run plays it without being asked for it by name."""
    hits: Sizes = field(default=Sizes(full=20, quick=3, tiny=1))


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str,
    *,
    codes: tuple[str, ...] = (),
    databases: tuple[str, ...] = ("sqlite", "postgresql"),
    in_quick: bool = False,
    full: int = 20,
    quick: int = 3,
    tiny: int = 1,
) -> Callable[[Play], Play]:
    """Register a scenario: its docstring is its promise, the numbers its least hits."""

    def register(play: Play) -> Play:
        promise = " ".join((play.__doc__ or "").split())
        hits = Sizes(full=full, quick=quick, tiny=tiny)
        SCENARIOS[name] = Scenario(
            name=name,
            promise=promise,
            play=play,
            codes=codes,
            databases=databases,
            in_quick=in_quick,
            hits=hits,
        )
        return play

    return register


def perform(scenario: Scenario, lab: Lab) -> Findings:
    """Play a scenario; what never happened is a miss, as are an error and too few hits."""
    findings = Findings()
    try:
        with lab:
            findings = scenario.play(lab)
    except NeverHappened as error:
        findings.check(checker.that("what is waited for happens", False, error))
        return findings
    except NotHere as reason:
        return Findings(not_run=str(reason))
    except Exception as error:  # noqa: BLE001  the other scenarios are still to be played
        traceback.print_exc()
        findings.check(checker.that("the scenario is played to its end", False, error))
        return findings
    least = getattr(scenario.hits, lab.size)
    findings.check(
        checker.that(
            f"the fault hits at least {least} times", findings.hits >= least, findings.hits
        )
    )
    return findings
