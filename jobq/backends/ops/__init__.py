"""Every unit of work that jobq does on a database, each written once.

A file a subject; the functions are generators over a `Dialect`, see `_statement`.
"""

from jobq.backends.ops.claim import (
    BATCH,
    Claimed,
    claim,
    declare,
    declare_refused,
    due_within,
    promote,
    ready_queues,
    survey,
    undeclared,
)
from jobq.backends.ops.control import (
    cancel,
    delete,
    duplicate_holder,
    pause,
    reschedule,
    resume,
    retry,
    set_progress,
    set_status,
)
from jobq.backends.ops.cycle import finish_and_claim
from jobq.backends.ops.finish import Ending, complete, finish, finish_and_delete
from jobq.backends.ops.insert import NewRow, insert, insert_many
from jobq.backends.ops.keep import expire, give_back, progress, prune, renew, rescue
from jobq.backends.ops.read import (
    Filter,
    QueueState,
    counts,
    get,
    get_many,
    history,
    matching,
    page,
    queues,
)
from jobq.backends.ops.workers import forget_worker, heartbeat, workers

__all__ = [
    "BATCH",
    "Claimed",
    "Ending",
    "Filter",
    "NewRow",
    "QueueState",
    "cancel",
    "claim",
    "complete",
    "counts",
    "declare",
    "declare_refused",
    "delete",
    "due_within",
    "duplicate_holder",
    "expire",
    "finish",
    "finish_and_claim",
    "finish_and_delete",
    "forget_worker",
    "get",
    "get_many",
    "give_back",
    "heartbeat",
    "history",
    "insert",
    "insert_many",
    "matching",
    "page",
    "pause",
    "progress",
    "promote",
    "prune",
    "queues",
    "ready_queues",
    "renew",
    "reschedule",
    "rescue",
    "resume",
    "retry",
    "set_progress",
    "set_status",
    "survey",
    "undeclared",
    "workers",
]
