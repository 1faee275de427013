"""Where limits are measured: a database, its processes, and what they wrote down."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from attrs import field, frozen

import jobq
from jobq.testing._postgres import PostgresServer
from tests.faults import lab as faults
from tests.faults.actors import Actor, NeverHappened
from tests.faults.history import Event
from tests.faults.lab import Size, Sizes
from tests.limits import windows
from tests.limits.app import Limits, routed, to_options
from tests.limits.windows import NANOSECONDS, Start


class Process(Actor):
    """A process of `tests.limits.app`."""

    app = "tests.limits.app"


@frozen(kw_only=True)
class Figure:
    """Something measured, and what it must not exceed, or fall short of."""

    what: str
    value: float
    most: float | None = None
    least: float | None = None
    trials: int = 1
    """How many starts, windows or rounds it was measured over."""
    is_timing: bool = False
    """Whether a busy machine may spoil it; the default tests look at the others only."""

    @property
    def holds(self) -> bool:
        above = self.least is None or self.value >= self.least
        return above and (self.most is None or self.value <= self.most)

    @property
    def bound(self) -> str:
        bounds = [("≥", self.least), ("≤", self.most)]
        return " ".join(f"{sign} {_short(n)}" for sign, n in bounds if n is not None)

    def row(self) -> tuple[str, ...]:
        verdict = ("ok" if self.holds else "MISSED") if self.bound else ""
        return (self.what, _short(self.value), self.bound, str(self.trials), verdict)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3f}"


def told(what: str, value: float, trials: int = 1) -> Figure:
    """A figure without a bound."""
    return Figure(what=what, value=value, trials=trials, is_timing=True)


class Lab(faults.Lab):
    """A `with` block that ends every process it started. `limits` are those of each type."""

    def use(self, limits: Limits) -> None:
        """Declare limits, by type: here and in the workers that are started from now on."""
        self.queue.close()
        self.handlers = to_options(limits)
        self.queue = jobq.Queue(self.url, router=routed(self.handlers))

    def actor(self, role: str, name: str | None = None, **options: Any) -> Actor:
        base = name or role
        number = next(self._numbers.setdefault(base, itertools.count(1)))
        options = {"url": self.url, **options}
        actor = Process(role, f"{base}.{number}", self.folder, **options)
        self._actors.append(actor)
        return actor

    def worker(self, name: str = "worker", **options: Any) -> Actor:
        return super().worker(name, **{"handlers": self.handlers, "lease": 15.0, **options})

    def add(self, type: str, count: int, **options: Any) -> list[str]:
        """Enqueue jobs alike; `units` are their costs, a number or a function of none by key."""
        units: Mapping[str, Any] = options.pop("units", {})
        payload = options.pop("payload", {})

        def items() -> Iterator[Any]:
            for _ in range(count):
                costs = {key: one() if callable(one) else one for key, one in units.items()}
                yield type, {**payload, "units": costs}, {"cost": costs or None, **options}

        ids = [outcome.job.id for outcome in self.queue.enqueue_many(items()) if outcome.job]
        self.history.note("enqueued", ids=ids)
        return ids

    def provider(self, **options: Any) -> str:
        """Start a provider; its address."""
        actor = self.actor("provider", **options)
        self.await_ready([actor])
        [ready] = self.histories.of("ready", where=lambda e: e.actor == actor.name)
        return f"http://127.0.0.1:{ready['port']}"

    # --- what was written down ---------------------------------------------------------------

    def entered(self, type: str | None = None, by: Actor | None = None) -> list[Event]:
        """The entries of handlers, in the order of time."""
        self.histories.refresh()
        events = self.histories.of(
            "start",
            where=lambda e: type in (None, e["type"]) and (by is None or e.actor == by.name),
        )
        return sorted(events, key=lambda event: event["ns"])

    def starts(self, type: str | None = None, key: str | None = None) -> list[Start]:
        """When handlers were entered, and the units that their jobs cost of a limit."""
        return [(event["ns"], event["units"].get(key, 1)) for event in self.entered(type)]

    def fullest(self, what: str, limit: jobq.RateLimit, starts: list[Start]) -> Figure:
        """The fullest window, against what the limit promises."""
        return Figure(
            what=what, value=windows.fullest(starts, limit.per), most=limit.n, trials=len(starts)
        )

    def counts(self, workers: Iterable[Actor]) -> Counter[str]:
        """What workers have executed so far, summed up: see `Statements.facts`."""
        asked = list(workers)
        before = {actor.name: len(self._counted(actor)) for actor in asked}
        for actor in asked:
            actor.go_on()
        total: Counter[str] = Counter()
        for actor in asked:
            self.until_noted("counted", before[actor.name] + 1, by=actor)
            facts = self._counted(actor)[-1].facts
            total["wakes"] += facts["wakes"]
            for kind in ("ops", "executed", "on_limits"):
                total[kind] += sum(facts[kind].values())
                total.update({f"{kind} {op}": n for op, n in facts[kind].items()})
        return total

    def _counted(self, actor: Actor) -> list[Event]:
        self.histories.refresh()
        return self.histories.of("counted", where=lambda e: e.actor == actor.name)

    def run_for(self, seconds: float, type: str | None = None, timeout: float = 60.0) -> int:
        """Wait for the first start and then so long; the instant of that start."""
        self.until(lambda: self.entered(type), timeout, "a first start")
        first: int = self.entered(type)[0]["ns"]
        time.sleep(max(0.0, seconds - (time.time_ns() - first) / NANOSECONDS))
        return first

    def warned(self, text: str) -> list[Event]:
        """What the engine complained about."""
        self.histories.refresh()
        return self.histories.of("log", where=lambda e: text in e["text"])

    # --- what came of the jobs ---------------------------------------------------------------

    def ended(self, workers: Iterable[Actor]) -> Iterator[Figure]:
        """End workers gracefully; then every job is completed or waits, and none ran twice."""
        stopped = self.stop(workers, timeout=60.0)
        yield Figure(what="workers that ended badly", value=len(stopped.broken), most=0)
        yield from self.none_lost()

    def none_lost(self) -> Iterator[Figure]:
        sql = "SELECT id, CASE WHEN crash_count < 3 THEN status ELSE 'killed' END FROM jobq_job"
        stored = {str(id): status for id, status in self.sql(sql)}
        well = ("completed", "pending", "rate_limited", "killed")
        acknowledged = self.acknowledged()
        lost = [id for id in acknowledged if stored.get(id) not in well]
        started = Counter(event["job"] for event in self.entered())
        never = [id for id in acknowledged if stored.get(id) == "completed" and not started[id]]
        yield Figure(
            what="jobs lost, failed or never run",
            value=len(lost) + len(never),
            most=0,
            trials=len(acknowledged),
        )

    def outcomes(self) -> Counter[str]:
        """How often attempts ended in each way."""
        rows = self.sql("SELECT outcome, count(*) FROM jobq_attempt GROUP BY outcome")
        return Counter(dict(rows))

    def run_op(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run an op as the engine does."""
        return self.queue._store().run(op, *args, **kwargs)


Play = Callable[[Lab, Any], Iterator[Figure]]


@frozen(kw_only=True)
class Measure:
    """A named measurement, and what it is played over: a round each."""

    name: str
    promise: str
    play: Play
    over: Sizes
    databases: tuple[str, ...] = field(default=("sqlite", "postgresql"))


MEASURES: dict[str, Measure] = {}
ONCE = Sizes(full=("",), quick=("",), tiny=("",))


def measure(name: str, *, over: Sizes = ONCE) -> Callable[[Play], Play]:
    """Register a measurement: its docstring is its promise."""

    def register(play: Play) -> Play:
        promise = " ".join((play.__doc__ or "").split())
        MEASURES[name] = Measure(name=name, promise=promise, play=play, over=over)
        return play

    return register


def perform(measure: Measure, lab: Lab, over: Any) -> Iterator[Figure]:
    """Take a measurement; what was expected and never happened is a miss."""
    try:
        with lab:
            yield from measure.play(lab, over)
    except NeverHappened as error:
        what, *words = str(error).splitlines()
        print("\n".join(words))
        yield Figure(what=f"never happened: {what}", value=0, least=1)


__all__ = ["MEASURES", "Figure", "Lab", "Measure", "PostgresServer", "Size", "Sizes", "measure"]
