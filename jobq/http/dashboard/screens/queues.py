"""Queues: how deep, how old, how fast; pausing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import Factory, define

from jobq import _verbs
from jobq._model import Stat, WorkerInfo
from jobq.backends.ops import Depth
from jobq.http.dashboard import verbs
from jobq.http.dashboard.charts import Chart
from jobq.http.dashboard.screens.overview import chart
from jobq.http.dashboard.visit import Visit
from jobq.http.steps import Ask, Operation

POINTS, MINUTES = 12, 5
ACTIONS = {"pause_queue": "paused", "resume_queue": "resumed"}


@define
class QueueRow:
    """A queue as the page shows it."""

    name: str
    paused: bool = False
    until: datetime | None = None
    live: dict[str, int] = Factory(dict)
    oldest: datetime | None = None
    chart: Chart | None = None
    completed: int = 0
    failed: int = 0
    workers: int = 0


def queues(visit: Visit) -> Operation:
    operator = yield from visit.admit()
    depths = yield Ask(verbs.depths)
    paused = yield Ask(verbs.paused_queues)
    stats = yield Ask(verbs.activity, points=POINTS, minutes=MINUTES, by="queue")
    workers = yield Ask(_verbs.workers)
    return visit.page(operator, queues=rows(depths, paused, stats, workers), cap=verbs.CAP)


def rows(
    depths: Sequence[Depth],
    paused: Mapping[str, datetime | None],
    stats: Sequence[Stat],
    workers: Sequence[WorkerInfo],
) -> list[QueueRow]:
    """The queues by name, with all that is known of each."""
    alive = [worker for worker in workers if worker.alive]
    served = {name for worker in alive for name in worker.queues}
    found: dict[str, QueueRow] = {}
    names = {*(d.queue for d in depths), *paused, *(s.name for s in stats if s.name), *served}
    for name in sorted(names):
        row = found[name] = QueueRow(name, name in paused, paused.get(name))
        row.workers = sum(not worker.queues or name in worker.queues for worker in alive)
    for depth in depths:
        row = found[depth.queue]
        row.live[depth.status] = row.live.get(depth.status, 0) + depth.count
        moments = [at for at in (row.oldest, depth.oldest) if at is not None]
        row.oldest = min(moments, default=None)
    for name, row in found.items():
        _count(row, [stat for stat in stats if stat.name == name])
    return [*found.values()]


def _count(row: QueueRow, stats: Sequence[Stat]) -> None:
    row.completed = sum(stat.completed for stat in stats)
    row.failed = sum(stat.failed for stat in stats)
    row.chart = chart(stats, "completed", "failed")


def change(visit: Visit) -> Operation:
    action, operator = yield from visit.submit(ACTIONS)
    queue = visit.needed("queue")
    if action == "pause_queue":
        yield Ask(_verbs.pause, queue, None)
    else:
        yield Ask(_verbs.resume, queue)
    visit.log(operator, action, f"queue {queue}")
    return visit.done(f"{queue} is {ACTIONS[action]}.", "/queues")
