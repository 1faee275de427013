"""The first page: how things are, and what needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from jobq import _verbs
from jobq._clock import from_datetime
from jobq._model import Stat, WorkerInfo
from jobq.backends.ops import Depth, Search
from jobq.http.dashboard import verbs
from jobq.http.dashboard.charts import Chart, stacked
from jobq.http.dashboard.visit import Visit
from jobq.http.steps import Ask, Operation

MINUTES = 60
RUNNING = 8
GROUPS = 5


def overview(visit: Visit) -> Operation:
    operator = yield from visit.admit()
    counts = yield Ask(verbs.status_counts)
    stats: list[Stat] = yield Ask(verbs.activity, points=MINUTES, minutes=1)
    depths: list[Depth] = yield Ask(verbs.depths)
    workers: list[WorkerInfo] = yield Ask(_verbs.workers)
    running = yield Ask(verbs.search, Search(status="processing"), limit=RUNNING, after=None)
    day = from_datetime(visit.now() - timedelta(days=1), name="since")
    failures = yield Ask(verbs.failures, day)
    closed = yield Ask(verbs.closed_limits)
    paused = yield Ask(verbs.paused_queues)
    alive = [worker for worker in workers if worker.alive]
    return visit.page(
        operator,
        counts=counts,
        completed=chart(stats, "completed"),
        failed=chart(stats, "failed"),
        totals={name: sum(getattr(s, name) for s in stats) for name in ("completed", "failed")},
        hour_ago=stats[0].minute,
        oldest=oldest(depths),
        alive=alive,
        slots=sum(worker.slots for worker in alive),
        busy=_busy(alive, counts["processing"]),
        running=running.jobs,
        failures=failures[:GROUPS],
        closed=closed,
        paused=paused,
        unknown=unknown_types(depths, alive),
    )


def _busy(alive: Sequence[WorkerInfo], processing: int) -> int:
    """Slots in use; workers say so every few seconds, and jobs at once."""
    slots = sum(worker.slots for worker in alive)
    return max(sum(worker.busy for worker in alive), min(processing, slots))


def chart(stats: Sequence[Stat], *names: str) -> Chart:
    """Columns of some minutes."""
    return stacked([(_title(stat, names), {n: getattr(stat, n) for n in names}) for stat in stats])


def _title(stat: Stat, names: Sequence[str]) -> str:
    numbers = ", ".join(f"{getattr(stat, name):,} {name}" for name in names)
    return f"{stat.minute:%H:%M} UTC: {numbers}"


def oldest(depths: Sequence[Depth]) -> datetime | None:
    """Since when the job that waits longest could have started."""
    return min((depth.oldest for depth in depths if depth.oldest is not None), default=None)


def unknown_types(depths: Sequence[Depth], alive: Sequence[WorkerInfo]) -> dict[str, int]:
    """Types that have jobs waiting and that no living worker knows."""
    known = {type for worker in alive for type in worker.types}
    waiting: dict[str, int] = {}
    for depth in depths:
        if depth.status == "pending" and depth.type not in known:
            waiting[depth.type] = waiting.get(depth.type, 0) + depth.count
    return waiting
