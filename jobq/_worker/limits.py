"""Store what this worker declares of limits, and say where that is not what will hold."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from jobq import backends
from jobq._handler import Handler
from jobq._limits.declared import RateLimit, from_spec
from jobq._limits.templates import fields_of
from jobq._payload import loads
from jobq._worker.lanes import Lanes
from jobq.observe import logger

ENOUGH = 5
"""How many finished jobs of a type it takes to know how long they last."""


async def declare_limits(store: backends.AsyncStore, lanes: Lanes, worker: str) -> None:
    """Store the numbers of our limits, or learn of those that hold instead."""
    declared = lanes.declarations()
    if not declared:
        return
    said = [
        f"limit {limit.key!r} is declared as {limit.describe()} and as {other.describe()}: the "
        f"slower holds"
        for limit, other in lanes.contradictions()
    ]
    for one in await store.run(backends.ops.declare_limits, declared, worker=worker):
        if one.differs:
            whose = "an operator has set" if one.overridden else "another worker declares"
            holds, ours = _described(one.key, one.holds), _described(one.key, one.declared)
            said.append(f"limit {one.key!r}: {whose} {holds}, which holds instead of our {ours}")
    for text in said:
        if text not in lanes.told:  # once is enough for as long as it stays so
            logger.warning("%s", text)
    lanes.told = frozenset(said)


def _described(key: str, spec: str) -> str:
    limit = from_spec(key, loads(spec))
    return spec if limit is None else limit.describe()


async def warn_of_few_slots(
    store: backends.AsyncStore, handlers: Iterable[Handler[object, object]], own_slots: int
) -> None:
    """Warn where all slots together cannot use a rate, by Little's law: slots = rate * time."""
    limited = [(handler, rate) for handler in handlers if (rate := _rate(handler)) is not None]
    if not limited:
        return
    durations = await store.run(backends.ops.durations)
    others = [worker for worker in await store.run(backends.ops.workers) if worker.alive]
    for handler, rate in limited:
        seconds = durations.get(handler.type, [])
        if len(seconds) < ENOUGH:
            continue
        typical = statistics.median(seconds)
        slots = own_slots + sum(one.slots for one in others if handler.type in one.types)
        if rate * typical > slots:
            logger.warning(
                "%s jobs take %.3g s, and their limits allow %.3g a minute: that needs %d slots, "
                "and there are %d",
                handler.type,
                typical,
                rate * 60,
                round(rate * typical + 0.5),
                slots,
            )


def _rate(handler: Handler[object, object]) -> float | None:
    """Starts per second that the limits which all its jobs share allow."""
    rates = [
        limit.effective_rate
        for limit in handler.limits
        if isinstance(limit, RateLimit) and limit.cost is None and not fields_of(limit.key)
    ]
    return min(rates, default=None)
