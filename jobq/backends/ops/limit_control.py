"""The numbers of limits: what workers declare and operators set; pauses, and tidying up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen
from sqlalchemy import BigInteger, Executable, Text, and_, delete, null, or_, select, update

from jobq._limits.declared import from_spec
from jobq._payload import dumps, loads
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, param, word
from jobq.backends._statement import Op, atomic, statement
from jobq.backends.ops.limits import lock

c = t.limit.c
IDLE = 3_600_000_000
"""How long a limit has been full, in microseconds, before its row is dropped."""


# --- declare ------------------------------------------------------------------------------------


@statement
def _declared_elsewhere(d: Dialect) -> Executable:
    w = t.worker.c
    alive = (w.lease_until > d.now(), w.id != param("worker"), w.limits.is_not(None))
    return select(d.wire(w.limits)).where(*alive)


@statement
def _store_specs(d: Dialect) -> Executable:
    new = d.rows("rows", key=Text, spec=Text)
    values = select(new.c.key, d.json(new.c.spec)).where(number(1) == number(1))
    insert: Any = d.insert(t.limit).from_select(["key", "spec"], values.order_by(new.c.key))
    return insert.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=["key"],
        set_={"spec": insert.excluded.spec},
        where=d.is_unset(c.overridden),
    ).returning(c.key)


@frozen
class Declaration:
    """What a declared limit came to beside those of other living workers and of operators."""

    key: str
    declared: str
    holds: str
    overridden: bool

    @property
    def differs(self) -> bool:
        return self.declared != self.holds


def _slowest(key: str, specs: Iterable[str]) -> str:
    def rate(spec: str) -> tuple[float, str]:
        limit = from_spec(key, loads(spec))
        return (float("inf") if limit is None else limit.effective_rate, spec)

    return min(specs, key=rate)


@atomic
def declare_limits(
    d: Dialect, declared: Mapping[str, str], *, worker: str
) -> Op[list[Declaration]]:
    """Store what a worker declares, as {key: numbers in JSON}; what holds for each.

    Of different declarations by living workers the slowest holds. An operator's numbers stay.
    """
    if not declared:
        return []
    _, rows = yield from lock(d, {key: key for key in declared})
    others = yield _declared_elsewhere(d, worker=worker)
    specs: dict[str, list[str]] = {key: [spec] for key, spec in declared.items()}
    for (text,) in others:
        for key, spec in loads(text).items():
            if key in specs:
                specs[key].append(spec)
    answer: list[Declaration] = []
    changed: list[dict[str, str]] = []
    for key, spec in declared.items():
        row = rows.get(key)
        if row is not None and row.overridden:
            answer.append(Declaration(key, spec, row.spec or spec, overridden=True))
            continue
        holds = _slowest(key, specs[key])
        answer.append(Declaration(key, spec, holds, overridden=False))
        if row is None or row.spec != holds:
            changed.append({"key": key, "spec": holds})
    if changed:
        yield _store_specs(d, rows=dumps(changed))
    return answer


# --- from an operator ---------------------------------------------------------------------------


@statement
def _set(d: Dialect) -> Executable:
    insert: Any = d.insert(t.limit).values(
        key=param("key"), spec=d.json(param("spec")), overridden=d.flag(number(1))
    )
    return insert.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=["key"],
        set_={"spec": insert.excluded.spec, "overridden": insert.excluded.overridden},
    ).returning(c.key)


def set_limit(d: Dialect, *, key: str, spec: str) -> Op[None]:
    """Change a limit's numbers; no declaration changes them back."""
    yield _set(d, key=key, spec=spec)


@statement
def _pause(d: Dialect) -> Executable:
    insert: Any = d.insert(t.limit).values(
        key=param("key"),
        paused=d.truth(param("until", BigInteger).is_(None)),
        blocked_until=d.instant(param("until", BigInteger)),
        reason=param("reason"),
    )
    changing = ("paused", "blocked_until", "reason")
    return insert.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=["key"], set_={name: insert.excluded[name] for name in changing}
    ).returning(c.key)


def pause_limit(d: Dialect, *, key: str, until: int | None, reason: str | None) -> Op[None]:
    """Close a limit until an instant, or until it is resumed."""
    yield _pause(d, key=key, until=until, reason=reason)


@statement
def _resume(d: Dialect) -> Executable:
    values = {"paused": d.flag(number(0)), "blocked_until": null(), "reason": null()}
    return update(t.limit).where(c.key == param("key")).values(values).returning(c.key)


def resume_limit(d: Dialect, *, key: str) -> Op[bool]:
    """Open a limit that was closed; whether there is one."""
    rows = yield _resume(d, key=key)
    return bool(rows)


@statement
def _reset(d: Dialect) -> Executable:
    values = {
        "overridden": d.flag(number(0)),
        "paused": d.flag(number(0)),
        "blocked_until": null(),
        "reason": null(),
        "tat": null(),
        "idle_at": null(),
        "day": null(),
        "used": number(0),
        "held_for": null(),
    }
    return update(t.limit).where(c.key == param("key")).values(values).returning(c.key)


@atomic
def reset_limit(d: Dialect, *, key: str) -> Op[bool]:
    """Open a limit, fill its bucket, and go back to what living workers declare."""
    rows = yield _reset(d, key=key)
    texts = yield _declared_elsewhere(d, worker="")
    specs = [spec for (text,) in texts if (spec := loads(text).get(key)) is not None]
    if rows and specs:
        yield _store_specs(d, rows=dumps([{"key": key, "spec": _slowest(key, specs)}]))
    return bool(rows)


@statement
def _prune(d: Dialect) -> Executable:
    long_ago = d.later(d.now(), number(-IDLE))
    idle = and_(
        c.spec.is_(None),
        d.is_unset(c.paused),
        or_(c.blocked_until.is_(None), c.blocked_until < long_ago),
        or_(c.tat.is_(None), c.tat < long_ago),
        c.updated_at < d.later(d.now(), number(-48 * IDLE)),
    )
    return delete(t.limit).where(idle).returning(c.key)


@statement
def _prune_lanes(d: Dialect) -> Executable:
    long_ago = d.later(d.now(), number(-IDLE))
    return delete(t.lane).where(t.lane.c.served_at < long_ago).returning(word("1"))


def prune_limits(d: Dialect) -> Op[list[str]]:
    """Drop the rows of filled-in keys that are full anyway; a missing row is a full bucket."""
    rows = yield _prune(d)
    yield _prune_lanes(d)
    return [row[0] for row in rows]
