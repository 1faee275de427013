"""What pages ask of the queue beyond its own verbs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobq import _spend_verbs, backends
from jobq._config import Config
from jobq._model import MOVES, Attempt, Counts, Job, Stat
from jobq._spend import SpendTotal
from jobq._steps import Do
from jobq._verbs import Verb, move_many
from jobq.backends.ops import (
    Closed,
    DatabaseHealth,
    Depth,
    Failures,
    Found,
    Search,
    StepDone,
)

CAP = 10_000
"""How many jobs a bulk action moves at a time, and a count counts up to."""
BULK = {
    "retry": ("failed", "cancelled"),
    "cancel": ("pending", "rate_limited", "waiting", "processing"),
    "delete": ("completed", "failed", "cancelled"),
}
"""What can be done with many jobs at once, and in which statuses where none is named."""
MINUTE = 60_000_000


def search(config: Config, which: Search, *, limit: int, after: str | None) -> Verb[Found]:  # noqa: ARG001  every verb takes the configuration
    return (yield Do(backends.ops.search, which, limit=limit, after=after))  # type: ignore[no-any-return]


def status_counts(config: Config) -> Verb[Counts]:  # noqa: ARG001
    return (yield Do(backends.ops.status_counts))  # type: ignore[no-any-return]


def depths(config: Config) -> Verb[list[Depth]]:  # noqa: ARG001
    return (yield Do(backends.ops.depths))  # type: ignore[no-any-return]


def failures(config: Config, since: int | None) -> Verb[list[Failures]]:  # noqa: ARG001
    return (yield Do(backends.ops.failures, since=since))  # type: ignore[no-any-return]


def closed_limits(config: Config) -> Verb[list[Closed]]:  # noqa: ARG001
    return (yield Do(backends.ops.closed_limits))  # type: ignore[no-any-return]


def database(config: Config) -> Verb[DatabaseHealth]:  # noqa: ARG001
    return (yield Do(backends.ops.database_health))  # type: ignore[no-any-return]


def history(config: Config, id: str) -> Verb[list[Attempt]]:  # noqa: ARG001
    return (yield Do(backends.ops.history, id))  # type: ignore[no-any-return]


def steps(config: Config, id: str) -> Verb[list[StepDone]]:  # noqa: ARG001
    return (yield Do(backends.ops.steps_done, id))  # type: ignore[no-any-return]


def activity(
    config: Config,  # noqa: ARG001
    *,
    points: int,
    minutes: int,
    by: str | None = None,
) -> Verb[list[Stat]]:
    return (yield Do(backends.ops.stats, points=points, step=minutes * MINUTE, by=by))  # type: ignore[no-any-return]


def movable(config: Config, verb: str, which: Search) -> Verb[list[str]]:  # noqa: ARG001
    """The ids of jobs that fit and may be moved, `CAP` of them at most."""
    from attrs import evolve

    allowed = BULK[verb]
    if which.status is not None:
        allowed = (which.status,) if which.status in MOVES[verb].sources else ()
    ids: list[str] = []
    for status in allowed:
        left = CAP - len(ids)
        if left > 0:
            ids += yield Do(backends.ops.find, evolve(which, status=status), limit=left)
    return ids


def selected(config: Config, verb: str, ids: Iterable[str]) -> Verb[list[Job]]:  # noqa: ARG001
    """Those of some jobs that may be moved."""
    jobs: list[Any] = yield Do(backends.ops.get_many, list(ids))
    return [job for job in jobs if job.status in MOVES[verb].sources]


def move(config: Config, verb: str, ids: list[str]) -> Verb[int]:
    return (yield from move_many(config, verb, ids))


def paused_queues(config: Config) -> Verb[dict[str, Any]]:  # noqa: ARG001
    return (yield Do(backends.ops.paused_queues))  # type: ignore[no-any-return]


def spend_of(config: Config, id: str) -> Verb[list[SpendTotal]]:
    """What a job has cost, by provider."""
    where: dict[str, Any] = {"since": None, "until": None, "tz": "UTC", "owner": None, "type": None}
    return (yield from _spend_verbs.spend(config, "provider", job=id, **where))
