"""Workers: who is alive, how busy, and what they know."""

from __future__ import annotations

from jobq import _verbs
from jobq._model import WorkerInfo
from jobq.http.dashboard import verbs
from jobq.http.dashboard.screens.overview import unknown_types
from jobq.http.dashboard.visit import Visit
from jobq.http.steps import Ask, Operation


def workers(visit: Visit) -> Operation:
    operator = yield from visit.admit()
    found: list[WorkerInfo] = yield Ask(_verbs.workers)
    depths = yield Ask(verbs.depths)
    alive = [worker for worker in found if worker.alive]
    gone = [worker for worker in found if not worker.alive]
    return visit.page(
        operator,
        workers=[*alive, *gone],
        alive=alive,
        slots=sum(worker.slots for worker in alive),
        busy=sum(worker.busy for worker in alive),
        abandoned=sum(worker.abandoned for worker in alive),
        unknown=unknown_types(depths, alive),
    )
