"""Webhooks: from jobs that have ended to the jobs that say so, and endpoints that want no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, Text, delete, func, select, update

from jobq._model import Job, instant
from jobq._payload import dumps
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, number, param
from jobq.backends._statement import Op, atomic, reading, statement
from jobq.backends.ops._rows import JOB, to_job
from jobq.backends.ops.insert import NewRow, insert_many

j = t.job.c
w = t.webhook.c
TOLD_AT_ONCE = 50
"""How many jobs a round of `relay` takes: with their results they may be large."""


def _these(d: Dialect, query: Any, named: bool) -> Any:
    query = query.where(d.predicate(t.UNTOLD)).with_hint(t.job, *t.BY_WEBHOOK)
    if not named:
        return query
    names = select(d.rows("names", name=Text).c.name)
    if not d.locks_rows:
        return query.where(j.webhook.in_(names))
    # As an array, so that PostgreSQL goes by the index whatever it thinks of their number.
    return query.where(j.webhook == func.any(func.array(names.scalar_subquery())))


def _names(names: Sequence[str] | None) -> dict[str, str]:
    return {} if names is None else {"names": dumps([{"name": name} for name in names])}


@statement
def _any_untold(d: Dialect, named: bool) -> Executable:
    return _these(d, select(j.id), named).limit(number(1))  # type: ignore[no-any-return]


@reading
def untold(d: Dialect, names: Sequence[str] | None) -> Op[bool]:
    """Whether jobs have ended that somebody is to be told of."""
    return bool((yield _any_untold(d, names is not None, **_names(names))))


@statement
def _untold(d: Dialect, named: bool) -> Executable:
    some = _these(d, select(*d.wires(JOB), j.webhook), named).limit(number(TOLD_AT_ONCE))
    return d.skip_locked(some, t.job)


@statement
def _mark_told(d: Dialect) -> Executable:
    these = d.rows("rows", id=Text)
    told = update(t.job).where(j.id == d.id(these.c.id))
    return told.values(webhook_sent=d.flag(number(1)))


@atomic
def relay(
    d: Dialect, names: Sequence[str] | None, make: Callable[[Job, str], NewRow]
) -> Op[list[Job]]:
    """Enqueue deliveries for jobs that have ended: the deliveries, `TOLD_AT_ONCE` at most.

    `names` are the webhooks to look at, `None` is all of them. A job is marked in the transaction
    that stores its delivery, so that there is one, whoever else is at it.
    """
    rows = yield _untold(d, names is not None, **_names(names))
    if not rows:
        return []
    yield _mark_told(d, rows=dumps([{"id": row[0]} for row in rows]))
    deliveries = [make(to_job(row), row[len(JOB)]) for row in rows]
    return (yield from insert_many(d, deliveries, notify=True))


@statement
def _disabled(d: Dialect) -> Executable:
    same = (w.name == param("name"), w.fingerprint == param("fingerprint"))
    return select(d.wire(w.disabled_at)).where(*same)


@reading
def webhook_disabled(d: Dialect, name: str, fingerprint: str) -> Op[datetime | None]:
    """Since when an endpoint wants no messages; `None` where it does."""
    rows = yield _disabled(d, name=name, fingerprint=fingerprint)
    return instant(rows[0][0]) if rows else None


@statement
def _disable(d: Dialect) -> Executable:
    insert = d.insert(t.webhook).values(
        name=param("name"),
        fingerprint=param("fingerprint"),
        disabled_at=d.now(),
        reason=param("reason"),
    )
    new = insert.excluded
    changed = {name: new[name] for name in ("fingerprint", "disabled_at", "reason")}
    return insert.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=["name"], set_=changed
    )


def disable_webhook(d: Dialect, name: str, fingerprint: str, reason: str) -> Op[None]:
    """Send an endpoint no more messages, until it is enabled or has another URL."""
    yield _disable(d, name=name, fingerprint=fingerprint, reason=reason)


@statement
def _enable(d: Dialect) -> Executable:  # noqa: ARG001  every statement takes it
    return delete(t.webhook).where(w.name == param("name")).returning(w.name)


def enable_webhook(d: Dialect, *, name: str) -> Op[bool]:
    """Send an endpoint messages again; whether it was disabled."""
    return bool((yield _enable(d, name=name)))


@statement
def _all_disabled(d: Dialect) -> Executable:
    return select(w.name, d.wire(w.disabled_at), w.reason).order_by(w.name)


@reading
def disabled_webhooks(d: Dialect) -> Op[list[tuple[str, datetime | None, str]]]:
    """The endpoints that are disabled, by name: since when, and why."""
    rows = yield _all_disabled(d)
    return [(name, instant(at), reason) for name, at, reason in rows]
