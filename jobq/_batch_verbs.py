"""What a queue can do about batches; verbs as those of `_verbs`, which go by these."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve

from jobq import backends
from jobq._batch import Batch, BatchInfo
from jobq._config import Config
from jobq._enqueue import Rows
from jobq._errors import BatchNotFound, OptionError, OwnerLimitExceeded
from jobq._model import Job, job_id
from jobq._payload import dumps, loads
from jobq._steps import Do, DoOn, Step, Tell
from jobq._wakeup import wake

if TYPE_CHECKING:
    from jobq._owners import Bound
    from jobq.backends.ops.insert import NewRow

T = TypeVar("T")
Verb = Generator[Step, Any, T]
MOST = 100_000
"""How many jobs a batch may have: they are stored in one transaction."""


def store(
    config: Config,
    batch: Any,
    rows: list[NewRow],
    connection: Any,
    bounds: Mapping[str, Sequence[Bound]],
) -> Verb[list[Job | OwnerLimitExceeded]]:
    """Store a batch; the answers for its rows, in order."""
    new = _prepared(config, batch)
    if len(rows) > MOST:
        raise OptionError(f"a batch has at most {MOST} jobs, not {len(rows)}: make several")
    op = backends.ops.insert_batch
    if connection is None:
        stored = yield Do(op, new, rows, bounds, keep=config.keep)
    else:
        stored = yield DoOn(connection, op, new, rows, bounds, keep=config.keep)
    if stored is None:
        raise OptionError(f"batch {new.id} has been enqueued: make a Batch for each call")
    jobs, follow = stored
    _tell(config, follow)
    return jobs  # type: ignore[no-any-return]


def _prepared(config: Config, batch: Any) -> Any:
    if not isinstance(batch, Batch):
        raise OptionError(f"batch must be a Batch, as in Batch(then=…), not {batch!r:.100}")
    then = None if batch.then is None else _then(config, batch)
    return backends.ops.NewBatch(id=batch.id, owner=batch.owner, then=then)


def _then(config: Config, batch: Batch) -> NewRow:
    """The row of the job that follows."""
    row = Rows(config).of(batch.then)
    if row.terms.unique_key is not None or row.terms.idempotency_key is not None:
        raise OptionError("the job that follows a batch is enqueued once anyhow: give it no key")
    own = row.terms.metadata
    metadata = dumps({**({} if own is None else loads(own)), "batch": batch.id})
    return evolve(row, terms=evolve(row.terms, metadata=metadata))


def end_batches(config: Config, jobs: Iterable[Job]) -> Verb[None]:
    """After jobs were moved by hand: if they were the last ones of a batch, it has ended."""
    ids = {job.batch_id for job in jobs if job.batch_id is not None and job.status.finished}
    if not ids:
        return
    follow = yield Do(backends.ops.end_batches, sorted(ids), keep=config.keep)
    _tell(config, follow)
    if follow:
        wake(config.backend.identity)
        yield Tell({job.queue for job in follow})


def _tell(config: Config, follow: Iterable[Job]) -> None:
    for job in follow if config.observers else ():
        config.observers.job_enqueued(job)


def batch(config: Config, id: Any) -> Verb[BatchInfo]:  # noqa: ARG001  every verb takes it
    wanted = id.id if isinstance(id, Batch | BatchInfo) else job_id(id)
    found = yield Do(backends.ops.get_batch, wanted)
    if found is None:
        raise BatchNotFound(wanted)
    return found  # type: ignore[no-any-return]
