"""Who is alive: a row a worker, written with its heartbeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Executable, Integer, case, delete, select

from jobq._model import WorkerInfo, instant
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, param
from jobq.backends._statement import Op, reading, statement
from jobq.backends.ops._rows import loads
from jobq.backends.ops.stats import add_stats

w = t.worker.c
_KEPT = 3_600_000_000
"""How long a worker that went silent is still listed, in microseconds."""


@statement
def _heartbeat(d: Dialect) -> Executable:
    insert = d.insert(t.worker).values(
        id=param("id"),
        label=param("label"),
        host=param("host"),
        pid=param("pid", Integer),
        version=param("version"),
        queues=d.json(param("queues")),
        types=d.json(param("types")),
        limits=d.json(param("limits")),
        pools=d.json(param("pools")),
        slots=param("slots", Integer),
        busy=param("busy", Integer),
        abandoned=param("abandoned", Integer),
        started_at=d.now(),
        seen_at=d.now(),
        lease_until=d.later(d.now(), param("lease", BigInteger)),
    )
    changing = (
        "queues",
        "types",
        "limits",
        "pools",
        "slots",
        "busy",
        "abandoned",
        "seen_at",
        "lease_until",
    )
    return insert.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=["id"], set_={name: insert.excluded[name] for name in changing}
    )


def heartbeat(
    d: Dialect,
    *,
    stats: Sequence[dict[str, Any]] = (),
    version: str | None = None,
    **worker: Any,
) -> Op[None]:
    """Say that a worker is alive, what it is doing, and what became of its attempts."""
    yield _heartbeat(d, version=version, **worker)
    if stats:
        yield from add_stats(d, worker["label"], stats)


@statement
def _forget(d: Dialect) -> Executable:
    silent = w.seen_at < d.later(d.now(), number(-_KEPT))
    return delete(t.worker).where((w.id == param("id")) | silent)


def forget_worker(d: Dialect, id: str = "") -> Op[None]:
    """Remove a worker that stops, and those that have been silent for an hour: also killed ones."""
    yield _forget(d, id=id)


@statement
def _pools(d: Dialect) -> Executable:
    alive = (w.lease_until > d.now(), w.pools.is_not(None))
    return select(d.wire(w.pools)).where(*alive)


def pools(d: Dialect) -> Op[dict[str, list[tuple[str, str]]]]:
    """The (name, limit key) of the keys that living workers hold, by pool."""
    held: dict[str, dict[str, str]] = {}
    for (text,) in (yield _pools(d)):
        for pool, options in (loads(text) or {}).items():
            held.setdefault(pool, {}).update(dict(options))
    return {pool: sorted(options.items()) for pool, options in held.items()}


COLUMNS = (
    w.id,
    w.label,
    w.host,
    w.pid,
    w.queues,
    w.types,
    w.slots,
    w.busy,
    w.abandoned,
    w.started_at,
    w.seen_at,
    w.version,
)


@statement
def _workers(d: Dialect) -> Executable:
    alive = case((w.lease_until > d.now(), number(1)), else_=number(0))
    return select(*d.wires(COLUMNS), alive).order_by(w.started_at)


@reading
def workers(d: Dialect) -> Op[list[WorkerInfo]]:
    """The workers that are, or within the last hour were, alive."""
    rows = yield _workers(d)
    return [
        WorkerInfo(
            id=row[0],
            label=row[1],
            host=row[2],
            pid=row[3],
            queues=tuple(loads(row[4])),
            types=tuple(loads(row[5])),
            slots=row[6],
            busy=row[7],
            abandoned=row[8],
            started_at=instant(row[9]),  # type: ignore[arg-type]
            seen_at=instant(row[10]),  # type: ignore[arg-type]
            version=row[11],
            alive=bool(row[12]),
        )
        for row in rows
    ]
