"""What `admit` may be asked: states of limits, and lanes with jobs, drawn from a seed."""

from __future__ import annotations

from random import Random

from attrs import evolve, frozen

from jobq import Concurrency, DailyQuota, RateLimit
from jobq._limits import Lane
from jobq._limits.admit import Admission, Head, State, admit
from jobq._limits.lanes import Ref

SECOND = 1_000_000
NOON = 1_800_000_000 * SECOND
MIDNIGHT = NOON - NOON % (86_400 * SECOND)
POOLS = {"p": (("a", "p:a"), ("b", "p:b"), ("c", "p:ab"), ("d", "p:ab")), "none": ()}
RATES = ["r1", "r2", "p:a", "p:b", "p:ab"]
OTHERS = ["q1", "c1", "c2", "@p/a", "@p/b", "@p/c", "@p/d", "x"]
WANTED = ["r1", "r2", "q1", "c1", "c2", "x", "missing", "@p", "@none"]


def lane(*keys: str) -> str:
    return Lane("t", tuple(Ref(key, key) for key in keys)).text


def at(*keys: str, queue: str = "q") -> tuple[str, str]:
    return queue, lane(*keys)


def heads(where: tuple[str, str], count: int, *, priority: int = 0, **costs: int) -> list[Head]:
    return [Head(f"{where}/{n}", where[0], where[1], priority, n, costs) for n in range(count)]


def bucket(key: str, n: int = 1, per: float = 1, max_cost: int = 1, **state: int) -> State:
    return State(key, RateLimit(key, n, per=per, max_cost=max_cost), **state)


def unheld(state: State) -> State:
    """A state without what says whose turn it is."""
    return evolve(state, held_for=None, held_priority=0, held_until=0)


@frozen
class Case:
    """What `admit` is asked."""

    states: dict[str, State]
    lanes: dict[tuple[str, str], list[Head]]
    slots: int = 100
    ahead: int = 0
    look_ahead: int = SECOND
    now: int = NOON
    served: dict[tuple[str, str], int] | None = None

    def admit(self, states: dict[str, State]) -> Admission:
        return admit(
            states,
            self.lanes,
            slots=self.slots,
            now=self.now,
            ahead=self.ahead,
            look_ahead=self.look_ahead,
            pools=POOLS,
            served=self.served,
        )

    def outcome(self) -> tuple[Admission, dict[str, State]]:
        states = self.copies()
        return self.admit(states), states

    def copies(self) -> dict[str, State]:
        return {key: evolve(state) for key, state in self.states.items()}

    def head(self, id: str) -> Head:
        return next(head for some in self.lanes.values() for head in some if head.id == id)


def a_state(rng: Random, key: str, now: int) -> State:
    def near() -> int:
        return now + rng.choice([0, 1, rng.randint(-3 * SECOND, 3 * SECOND)])

    state = State(key, None, blocked_until=rng.choice([None, None, near()]))
    state.paused = rng.random() < 0.1
    if key in RATES:
        max_cost = rng.randint(1, 5)
        per = rng.choice([0.01, 1, 60, rng.uniform(0.01, 60)])
        state.limit = RateLimit(key, rng.randint(max_cost, 20), per=per, max_cost=max_cost)
        state.tat = rng.choice([0, near()])
    elif key == "q1":
        state.limit = DailyQuota(key, 10, tz=rng.choice(["UTC", "America/Los_Angeles"]))
        state.day = rng.choice([None, state.limit.day(now), "2020-01-01"])
        state.used = rng.randint(0, 11)
    elif key.startswith("c"):
        state.limit = Concurrency(key, rng.randint(1, 3))
        state.running = rng.randint(0, 4)
        state.frees_at = rng.choice([None, near()])
    return state


def a_case(seed: int, *, ahead: int | None = None) -> Case:
    rng = Random(seed)
    now = rng.choice([NOON, NOON, MIDNIGHT - SECOND // 2, MIDNIGHT + 29_500_000])
    lanes = {}
    for number in range(rng.randint(0, 6)):
        where = at(*rng.sample(WANTED, rng.randint(0, 3)), queue=f"q{number}")
        lanes[where] = []
        for index in range(rng.randint(0, 5)):
            named = rng.sample(["r1", "r2", "q1", "@p"], rng.randint(0, 2))
            costs = {key: rng.randint(0, 6) for key in named}
            lanes[where].append(Head(f"{number}.{index}", *where, rng.randint(-1, 1), index, costs))
        lanes[where].sort(key=lambda head: -head.priority)
    return Case(
        states={key: a_state(rng, key, now) for key in RATES + OTHERS},
        lanes=lanes,
        slots=rng.choice([rng.randint(0, 5), 100]),
        ahead=rng.randint(0, 5) if ahead is None else ahead,
        look_ahead=rng.choice([0, SECOND, 60 * SECOND]),
        now=now,
        served={where: now - rng.randint(0, 5) for where in lanes},
    )
