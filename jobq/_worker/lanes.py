"""What a worker knows of its lanes: which are open, and when the others will be."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jobq import backends
from jobq._clock import SECOND
from jobq._config import Config
from jobq._limits import Concurrency, KeyPool, Lane
from jobq._limits.admit import NEVER, State, lane_opening
from jobq._limits.declared import Limit, Single, to_spec
from jobq._payload import dumps
from jobq._worker.pace import patience
from jobq._worker.ranking import Ranking

LOOK_AHEAD = 1.0
"""How far ahead of their time starts are granted, in seconds."""
HELD_LOOK = SECOND // 4
"""How soon a lane is asked for again that waits for a job of another one, in microseconds."""
MOST_PATIENCE = 0.25
"""How long a lane is left alone at most whose only jobs other transactions hold, in seconds."""
FOR_EVER = float("inf")
At = tuple[str, str]


class Lanes:
    """The lanes that have jobs for this worker. Times are of the monotonic clock.

    A lane that was found closed is not asked for before it opens; a pause that ends sooner is
    learned by `refresh`, whenever something has woken the worker.
    """

    def __init__(self, config: Config, queues: Sequence[str] | None) -> None:
        self._config = config
        self._chosen = queues
        self.learn()
        self._asks: dict[At, float] = {}
        """When to ask for each lane that has jobs."""
        self._opens: dict[At, float] = {}
        """When closed lanes open, which may be asked for ahead of that."""
        self._openings: dict[At, int] = {}
        """When closed lanes open, by the database's clock."""
        self._costs: dict[At, Mapping[str, int]] = {}
        self._in_vain: dict[At, int] = {}
        """How often in a row lanes had nothing to take that had been seen to have jobs."""
        self._closed: dict[str, float] = {}
        """Limits that a provider or an operator has closed, and until when."""
        self._after = ""
        self.told: frozenset[str] = frozenset()
        """What has been said of limits that others set or declare differently."""
        self._ranking = Ranking()

    def learn(self) -> None:
        """Take in the router's handlers and their limits."""
        config = self._config
        self._types = frozenset(config.router.types)
        self.pools = {pool.name: pool for pool in _pools(config)}
        self._held = {name: pool.options for name, pool in self.pools.items()}
        self._declared = self.declarations()
        self.have_places = any(isinstance(one, Concurrency) for one in _all_limits(config))
        """Whether places may come free at any moment, rather than at a time that is known."""
        self.limited_types = [h.type for h in config.router if h.limits]
        self.unlimited_types = [h.type for h in config.router if not h.limits]

    @property
    def after(self) -> str:
        """Where the next look at the lanes begins."""
        return self._after

    def leave_out(self, types: Iterable[str]) -> None:
        """Claim no more jobs of these types."""
        gone = frozenset(types)
        self._types -= gone
        self.unlimited_types = [type for type in self.unlimited_types if type not in gone]
        self._asks = {at: ask for at, ask in self._asks.items() if self._is_mine(at)}

    def queues_without_limits(self, queues: Iterable[str]) -> list[str]:
        return [queue for queue in queues if not self._config.limits.get(queue)]

    def unfit(self, queues: Iterable[str]) -> list[tuple[str, str]]:
        """(queue, type) pairs whose jobs all have limits: one without a lane is declared anew."""
        pairs = []
        for queue in queues:
            whole = bool(self._config.limits.get(queue))
            types = sorted(self._types) if whole else self.limited_types
            pairs += [(queue, type) for type in types]
        return pairs

    def strangers(self, ready: Any, types: Iterable[str]) -> set[str]:
        """The types of jobs, and of those in lanes, that have no handler here."""
        lanes = (Lane.parse(lane) for _, lane in ready.lanes)
        met = {*types, *(lane.type for lane in lanes if lane is not None)}
        return met - self._types

    def saw(self, ready: Any) -> None:
        """Take in a look at the lanes that have jobs; those that are new may be open."""
        seen = {at for at in ready.lanes if self._is_mine(at)}
        if not self._after and not ready.after:  # the look was at all of them
            self._asks = {at: ask for at, ask in self._asks.items() if at in seen}
            self._in_vain = {at: times for at, times in self._in_vain.items() if at in seen}
            self._opens = {at: opens for at, opens in self._opens.items() if at in seen}
            self._openings = {at: opens for at, opens in self._openings.items() if at in seen}
            self._costs = {at: costs for at, costs in self._costs.items() if at in seen}
        for at in seen:
            self._asks.setdefault(at, self._patience(at))
        self._after = ready.after

    def _patience(self, at: At) -> float:
        """Until when to leave a lane alone, where others hold its jobs: longer and longer."""
        times = self._in_vain.get(at, 0)
        return 0.0 if times < 2 else time.monotonic() + patience(times, MOST_PATIENCE)

    def _is_mine(self, at: At) -> bool:
        lane = Lane.parse(at[1])
        mine = self._chosen is None or at[0] in self._chosen
        return mine and lane is not None and lane.type in self._types

    def open(self) -> list[At]:
        """The lanes to ask for now."""
        now = time.monotonic()
        return [at for at, ask in self._asks.items() if ask <= now]

    def put_off(self) -> None:
        """Ask for lanes when they open, and not ahead of that."""
        for at in self.open():
            self._asks[at] = max(self._asks[at], self._opens.get(at, 0.0))

    @property
    def next_ask(self) -> float:
        """When the next lane is to be asked for."""
        return min(self._asks.values(), default=FOR_EVER)

    @property
    def opens_at(self) -> int | None:
        """When the next lane opens, by the database's clock; `None` where none is known to."""
        openings = [self._openings.get(at, NEVER) for at in self._asks]
        first = min(openings, default=NEVER)
        return None if first >= NEVER else first

    @property
    def are_closed(self) -> bool:
        """Whether there is a lane with jobs that is closed."""
        return bool(self._asks) and not self.open()

    def request(self, *, slots: int, ahead: int, **asked: Any) -> Any:
        """What to ask the database for."""
        frozen = self._config.clock.frozen  # nobody waits for a start while time stands still
        return backends.ops.Request(
            lanes=self._ranking.choose(self.open(), slots, time.monotonic()),
            slots=slots,
            ahead=0 if frozen else ahead,
            look_ahead=0 if frozen else round(LOOK_AHEAD * SECOND),
            pools=self._held,
            declared=self._declared,
            keep=self._config.keep,
            **asked,
        )

    def heard(self, request: Any, grant: Any) -> None:
        """Take in an answer: which lanes are closed until when, and which have no jobs."""
        for at in grant.empty:
            self._asks.pop(at, None)
            self._costs.pop(at, None)
            self._in_vain[at] = min(self._in_vain.get(at, 0) + 1, 10)
        for job, _ in grant.jobs:
            self._in_vain.pop((job.queue, job.lane), None)
        self._ranking.heard(grant, time.monotonic())
        self._costs |= grant.costs
        self._openings |= grant.openings
        for at, opening in grant.openings.items():
            self._asks[at] = self._moment(at, opening, grant.now, ahead=request.ahead > 0)

    def _moment(self, at: At, opening: int, now: int, *, ahead: bool) -> float:
        """When to ask for a lane that opens then: ahead of it, and not all workers at once."""
        if opening >= NEVER:
            self._opens[at] = FOR_EVER
            return FOR_EVER
        rest = max(0.0, (opening - now) / SECOND)
        lead = LOOK_AHEAD * random.uniform(0.1, 0.4) if ahead else 0.0
        self._opens[at] = time.monotonic() + rest
        return self._opens[at] - (lead if rest > lead else 0.0)

    def wanted_keys(self) -> dict[str, str]:
        """The limits of the lanes that have jobs, as {key: template}."""
        return backends.ops.wanted_keys(list(self._asks), self._held)

    def refresh(self, now: int | None, rows: Mapping[str, Any], *, ahead: bool) -> None:
        """Take in how the limits stand."""
        if now is None:
            return
        states = {key: row.state for key, row in rows.items()}
        others = {key: until for key, until in self._closed.items() if key not in states}
        closed = {key: _closed_until(state, now) for key, state in states.items()}
        self._closed = others | {key: until for key, until in closed.items() if until is not None}
        for at in self._asks:
            lane = Lane.parse(at[1])
            assert lane is not None
            costs = self._costs.get(at, {})
            opening, *_ = lane_opening(lane, states, now, costs=costs, pools=self._held)
            held = self._held_back(at, lane, states)
            self._openings[at] = max(opening, held)
            ask = max(opening, min(held, now + HELD_LOOK))
            self._asks[at] = max(self._moment(at, ask, now, ahead=ahead), self._patience(at))

    def _held_back(self, at: At, lane: Lane, states: Mapping[str, State]) -> int:
        """Until when a lane must wait, as it was told, for a job of another lane that saves up.

        It is asked for sooner all the same: a more urgent job, which may go first, may come.
        """
        known = [states[ref.key] for ref in lane.refs if ref.key in states]
        held = max((state.held_until for state in known if state.held_for is not None), default=0)
        return held if self._openings.get(at, 0) >= held else 0

    def close(self, key: str, seconds: float) -> None:
        """A limit was closed by one of our own jobs."""
        until = time.monotonic() + seconds
        self._closed[key] = max(until, self._closed.get(key, 0.0))
        for at in self._asks:
            lane = Lane.parse(at[1])
            if lane is not None and any(ref.key == key for ref in lane.refs):
                self._asks[at] = max(self._asks[at], until)

    def are_keys_closed(self, keys: Iterable[str]) -> bool:
        """Whether one of these limits is closed, as far as is known here."""
        if not self._closed:
            return False
        now = time.monotonic()
        return any(self._closed.get(key, 0.0) > now for key in keys)

    def declarations(self) -> dict[str, str]:
        """What this worker declares, as {key: numbers in JSON}."""
        declared: dict[str, Single] = {}
        for limit in _singles(_all_limits(self._config)):
            known = declared.setdefault(limit.key, limit)
            if limit.effective_rate < known.effective_rate:
                declared[limit.key] = limit
        return {key: dumps(to_spec(limit)) for key, limit in declared.items()}

    def contradictions(self) -> list[tuple[Single, Single]]:
        """Limits that handlers of this worker declare differently under one key."""
        first: dict[str, Single] = {}
        return [
            (known, limit)
            for limit in _singles(_all_limits(self._config))
            if to_spec(known := first.setdefault(limit.key, limit)) != to_spec(limit)
        ]

    def held_keys(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """The (name, limit key) of the keys that this worker holds, by pool. No secrets."""
        return dict(self._held)


def _closed_until(state: State, now: int) -> float | None:
    if state.paused:
        return FOR_EVER
    if state.blocked_until is not None and state.blocked_until > now:
        return time.monotonic() + (state.blocked_until - now) / SECOND
    return None


def _all_limits(config: Config) -> list[Limit]:
    limits = [limit for handler in config.router for limit in handler.limits]
    return limits + [limit for some in config.limits.values() for limit in some]


def _pools(config: Config) -> list[KeyPool]:
    return [limit for limit in _all_limits(config) if isinstance(limit, KeyPool)]


def _singles(limits: Iterable[Limit]) -> list[Single]:
    singles: list[Single] = []
    for limit in limits:
        singles += limit.limits() if isinstance(limit, KeyPool) else [limit]
    return singles
