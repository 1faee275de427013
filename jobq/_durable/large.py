"""Results of steps that are too large for a row: kept as artifacts of their steps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from jobq._durable.book import Run, Verb
from jobq._payload import dumps, loads
from jobq._saving import keep
from jobq._steps import Aside

if TYPE_CHECKING:
    from jobq.artifacts import Storage

MARK = "@artifact"
"""The only member of a result that is kept elsewhere; a handler's own that looks so is as well."""


def put_away(run: Run, name: str, text: str) -> Verb[str]:
    """The JSON text to record for a step's result: itself, or where it is kept."""
    limit = run.step_limit
    if (limit is None or len(text.encode()) <= limit) and not text.startswith(f'{{"{MARK}"'):
        return text
    kept = yield from keep(run, text.encode(), step=name)
    return dumps({MARK: {"id": kept.id, "key": kept.key, "bytes": kept.bytes}})


def fetched(run: Run, text: str | None) -> Verb[Any]:
    """The result that a recorded text stands for."""
    value = loads(text or "null")
    if not isinstance(value, dict) or MARK not in value:
        return value
    storage: Storage = yield Aside(lambda: run.storage, run.upload_threads)
    where = value[MARK]
    content = yield Aside(
        partial(storage.read, where["key"], 0, where["bytes"]), run.upload_threads
    )
    return loads(content.decode())
