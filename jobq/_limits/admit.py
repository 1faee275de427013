"""Which jobs may start, and when: the one decision behind every claim of limited jobs.

Pure: the claim of either database locks and reads, asks here, and writes what it is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from attrs import Factory, define, field, frozen

from jobq._clock import SECOND
from jobq._limits.declared import Concurrency, DailyQuota, RateLimit, Single, bench_key
from jobq._limits.lanes import Lane, Ref

HOLD = SECOND
"""How long after its start a held limit waits for the job, should it not come."""
NEVER = 2**62
"""An opening that only an operator, or another job's end, can bring about."""
FAR = 200_000_000_000 * SECOND
"""The year 8307: what opens later never does, and dates are not asked about it."""


@frozen
class Head:
    """A job that is next in its lane."""

    id: str
    queue: str
    lane: str
    priority: int
    run_at: int
    costs: Mapping[str, int] = Factory(dict)


@define
class State:
    """A limit as it stands: a row, locked. Instants in microseconds."""

    key: str
    limit: Single | None
    """`None` for a row that only says whether it is closed."""
    tat: int = 0
    idle_at: int = 0
    """When a debit last found the bucket full; what is settled later must not go behind that."""
    blocked_until: int | None = None
    paused: bool = False
    day: str | None = None
    used: int = 0
    running: int = 0
    frees_at: int | None = None
    """When the first of the running jobs may give its place back, should its worker have died."""
    held_for: str | None = None
    """The job whose turn it is, although cheaper ones could start sooner: they must wait for it."""
    held_priority: int = 0
    held_until: int = 0

    def opening(self, now: int, cost: int, head: Head | None = None) -> int:
        """The earliest start, now or later, as far as this limit goes."""
        if self.paused:
            return NEVER
        if self.limit is not None and cost > self.limit.max_cost:
            return NEVER
        if self.blocked_until is not None:
            now = max(now, self.blocked_until)
        if head is not None and self._is_held_against(head):
            now = max(now, self.held_until)
        if now >= FAR:
            return NEVER
        match self.limit:
            case RateLimit() as limit:
                now = limit.bucket.opening(self.tat, now, cost)
            case DailyQuota() as limit:
                now = self._quota_opening(limit, now, cost)
            case Concurrency() if self.is_full:
                now = NEVER if self.frees_at is None else max(now, self.frees_at)
        return now if now < FAR else NEVER

    def is_closed(self, now: int) -> bool:
        """Whether an operator or a refusal has closed it."""
        return self.paused or (self.blocked_until is not None and self.blocked_until > now)

    def _is_held_against(self, head: Head) -> bool:
        return self.held_for not in (None, head.id) and head.priority <= self.held_priority

    def hold(self, head: Head, start: int) -> None:
        """Let nobody of the same urgency go before a job that must save up until then."""
        self.held_for, self.held_priority = head.id, head.priority
        self.held_until = start + HOLD

    @property
    def is_full(self) -> bool:
        """Whether all places are taken: then its opening is a hope, since leases are renewed."""
        return isinstance(self.limit, Concurrency) and self.running >= self.limit.n

    def _quota_opening(self, limit: DailyQuota, now: int, cost: int) -> int:
        now = max(now, limit.begins(now) + limit.REST)
        used = self.used if self.day == limit.day(now) else 0
        return now if used + cost <= limit.n else limit.ends(now) + limit.REST

    def debit(self, start: int, cost: int, job: str | None = None) -> None:
        """A job of this cost starts then."""
        if job is not None and job == self.held_for:
            self.held_for, self.held_until = None, 0
        match self.limit:
            case RateLimit() as limit:
                if self.tat <= start:
                    self.idle_at = start
                self.tat = limit.bucket.debit(self.tat, start, cost)
            case DailyQuota() as limit:
                day = limit.day(start)
                self.used = cost + (self.used if self.day == day else 0)
                self.day = day
            case Concurrency():
                self.running += 1

    def covers(self, start: int) -> int:
        """Until when a permit for that start is good."""
        match self.limit:
            case RateLimit() as limit:
                return start + limit.bucket.tolerance
            case DailyQuota() as limit:
                return limit.ends(start) - 1
        return NEVER


@frozen
class Permit:
    """A job may start at `start`, and until `good_until`; later it must ask again."""

    start: int
    good_until: int
    debits: Mapping[str, int] = Factory(dict)
    """Units by limit key."""
    keys: Mapping[str, str] = Factory(dict)
    """The chosen key of each pool, by the pool's name."""


@define
class Admission:
    """What is granted, what it costs, and when to ask again."""

    permits: dict[str, Permit] = Factory(dict)
    """By job id, in the order of service."""
    refused: dict[str, str] = Factory(dict)
    """Jobs whose cost is above a limit's, by id: why."""
    debited: set[str] = Factory(set)
    """The keys of the states that have changed."""
    served: list[tuple[str, str]] = field(factory=list)
    """(queue, lane), in the order of service."""
    openings: dict[tuple[str, str], int] = Factory(dict)
    """When lanes that are closed open, by (queue, lane)."""


Option = tuple[tuple[str, ...], str | None]
"""The keys of the limits that a reference needs, and the pool's key that this stands for."""


def options_of(ref: Ref, pools: Mapping[str, Sequence[tuple[str, str]]]) -> list[Option]:
    """The ways to satisfy a reference: one, or one for each key of a pool."""
    if ref.pool is None:
        return [((ref.key,), None)]
    held = pools.get(ref.pool, ())
    return [((ref.key, bench_key(ref.pool, name), key), name) for name, key in held]


def keys_of(lane: Lane, pools: Mapping[str, Sequence[tuple[str, str]]]) -> set[str]:
    """The keys of all limit rows that a lane may need."""
    return {key for ref in lane.refs for keys, _ in options_of(ref, pools) for key in keys}


def lane_opening(
    lane: Lane,
    states: Mapping[str, State],
    now: int,
    *,
    costs: Mapping[str, int],
    pools: Mapping[str, Sequence[tuple[str, str]]],
    head: Head | None = None,
) -> tuple[int, dict[str, str], dict[str, int]]:
    """(earliest start, chosen keys of pools, units by limit key) for a job of these costs.

    Without the job's `head`, limits that are held for other jobs count as free.
    """
    start = now
    while True:
        moved = start
        chosen: dict[str, str] = {}
        units: dict[str, int] = {}
        for ref in lane.refs:
            cost = costs.get(ref.key, 1)
            best, option = NEVER, None
            for keys, name in options_of(ref, pools):
                opens = max(
                    (_opening(states, key, start, cost, head) for key in keys), default=start
                )
                if opens < best:
                    best, option = opens, (keys, name)
            if option is None:
                return NEVER, {}, {}
            moved = max(moved, best)
            keys, name = option
            units |= dict.fromkeys(keys, cost)
            if name is not None and ref.pool is not None:
                chosen[ref.pool] = name
        if moved == start or moved >= NEVER:
            return moved, chosen, units
        start = moved


def _opening(states: Mapping[str, State], key: str, now: int, cost: int, head: Head | None) -> int:
    state = states.get(key)
    return now if state is None else state.opening(now, cost, head)


def admit(
    states: Mapping[str, State],
    lanes: Mapping[tuple[str, str], Sequence[Head]],
    *,
    slots: int,
    now: int,
    ahead: int = 0,
    look_ahead: int = SECOND,
    pools: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    served: Mapping[tuple[str, str], int] | None = None,
) -> Admission:
    """Choose the jobs that may start, with their start times; debits `states` in place.

    - `lanes`: the heads of each, by (queue, lane), in their order; `served` tells when each lane
      was last served, by the same pair.
    - `slots`: how many may be chosen; `ahead` of them may start within `look_ahead` from now.
    - `pools`: the (name, limit key) of the keys that this worker holds, by pool.

    The order is the priority of the head, then the lane that was served longest ago. A job needs
    all of its limits or debits none; one that must wait closes its own lane and no other.
    """
    admission = Admission()
    held = pools or {}
    queues = {at: deque(heads) for at, heads in lanes.items() if heads}
    closed: dict[tuple[str, str], Head] = {}
    turn = {at: ((served or {}).get(at, 0), at) for at in queues}
    while queues and slots > 0:
        at = min(queues, key=lambda at: (-queues[at][0].priority, turn[at]))
        head, lane = queues[at][0], Lane.parse(at[1])
        reason = None if lane is None else _never(lane, states, head, held)
        if lane is None or reason is not None:
            admission.refused[head.id] = reason or "its lane cannot be read"
            _next(queues, at)
            continue
        start, keys, units = lane_opening(
            lane, states, now, costs=head.costs, pools=held, head=head
        )
        is_ahead = start > now
        if (
            start > now + look_ahead
            or any(key in states and states[key].is_full for key in units)
            or (is_ahead and (ahead <= 0 or _resets(states, units, now, start)))
        ):
            closed[at] = queues.pop(at)[0]
            admission.debited |= _hold(lane, states, head, now, start)
            continue
        good_until = min([states[key].covers(start) for key in units if key in states] or [NEVER])
        for key, cost in units.items():
            if key in states and states[key].limit is not None:
                states[key].debit(start, cost, head.id)
                admission.debited.add(key)
        admission.permits[head.id] = Permit(start, good_until, units, keys)
        admission.served.append(at)
        turn[at] = (now + len(admission.served), at)
        slots, ahead = slots - 1, ahead - is_ahead
        _next(queues, at)
    for at, head in [*closed.items(), *((at, heads[0]) for at, heads in queues.items())]:
        lane = Lane.parse(at[1])
        if lane is not None:
            start, *_ = lane_opening(lane, states, now, costs=head.costs, pools=held, head=head)
            if start > now or at in closed:
                admission.openings[at] = max(start, now + 1)
    return admission


def _next(queues: dict[tuple[str, str], deque[Head]], at: tuple[str, str]) -> None:
    queues[at].popleft()
    if not queues[at]:
        del queues[at]


def _hold(lane: Lane, states: Mapping[str, State], head: Head, now: int, start: int) -> set[str]:
    """Hold the rate limits that a costly job has to save up for; their keys.

    A cheaper job that always found a unit would otherwise keep it from ever starting.
    """
    keys: set[str] = set()
    for ref in lane.refs:
        state, cost = states.get(ref.key), head.costs.get(ref.key, 1)
        if state is None or not isinstance(state.limit, RateLimit) or cost <= 1:
            continue
        is_bottleneck = state.opening(now, cost) == start < NEVER
        if is_bottleneck and state.held_until <= now and state.opening(now, 1) < start:
            state.hold(head, start)
            keys.add(ref.key)
    return keys


def _resets(states: Mapping[str, State], keys: Iterable[str], now: int, start: int) -> bool:
    """Whether a daily count begins anew before that start: that is not granted ahead."""
    quotas = [states[key].limit for key in keys if key in states]
    return any(
        isinstance(quota, DailyQuota) and now < quota.begins(start) + quota.REST for quota in quotas
    )


def _never(
    lane: Lane,
    states: Mapping[str, State],
    head: Head,
    pools: Mapping[str, Sequence[tuple[str, str]]],
) -> str | None:
    """Why a job can never start: a limit was lowered below its cost."""
    for ref in lane.refs:
        cost = head.costs.get(ref.key, 1)
        if ref.pool is not None:
            continue  # another worker may hold a key that allows it
        limits = [
            state.limit
            for keys, _ in options_of(ref, pools)
            for key in keys
            if (state := states.get(key)) is not None and state.limit is not None
        ]
        if limits and all(cost > limit.max_cost for limit in limits):
            most = max(limit.max_cost for limit in limits)
            return f"its cost of {cost} is above the {most} that limit {ref.key!r} allows at once"
    return None
