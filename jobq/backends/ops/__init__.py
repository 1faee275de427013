"""Every unit of work that jobq does on a database, each written once.

A file a subject; the functions are generators over a `Dialect`, see `_statement`.
"""

from jobq.backends.ops.admission import Grant, Request, claim_limited, wanted_keys
from jobq.backends.ops.claim import BATCH, Claimed, claim, due_within, promote, survey
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
from jobq.backends.ops.declare import declare, declare_refused, undeclare, undeclared
from jobq.backends.ops.finish import Ending, complete, finish, finish_and_delete
from jobq.backends.ops.heads import stand
from jobq.backends.ops.insert import NewRow, insert, insert_many
from jobq.backends.ops.keep import (
    Overdue,
    expire,
    give_back,
    overdue,
    progress,
    prune,
    renew,
    rescue,
)
from jobq.backends.ops.lanes import Ready, ready, ready_types
from jobq.backends.ops.limit_control import (
    declare_limits,
    pause_limit,
    prune_limits,
    reset_limit,
    resume_limit,
    set_limit,
)
from jobq.backends.ops.limits import LimitRow, block, ensure_limits, look, settle
from jobq.backends.ops.read import (
    Filter,
    QueueState,
    counts,
    durations,
    get,
    get_many,
    history,
    matching,
    page,
    queues,
    versions,
)
from jobq.backends.ops.schedule_control import all_schedules, pause_schedule, resume_schedule
from jobq.backends.ops.schedules import Round, declare_schedules, see_schedules, tick
from jobq.backends.ops.steps import Delivery, StepRow, deliver_event, read_steps, write_step
from jobq.backends.ops.waiting import all_limits, count_waiting
from jobq.backends.ops.workers import forget_worker, heartbeat, workers

__all__ = [
    "BATCH",
    "Claimed",
    "Delivery",
    "Ending",
    "Filter",
    "Grant",
    "LimitRow",
    "NewRow",
    "Overdue",
    "QueueState",
    "Ready",
    "Request",
    "Round",
    "StepRow",
    "all_limits",
    "all_schedules",
    "block",
    "cancel",
    "claim",
    "claim_limited",
    "complete",
    "count_waiting",
    "counts",
    "declare",
    "declare_limits",
    "declare_refused",
    "declare_schedules",
    "delete",
    "deliver_event",
    "due_within",
    "duplicate_holder",
    "durations",
    "ensure_limits",
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
    "look",
    "matching",
    "overdue",
    "page",
    "pause",
    "pause_limit",
    "pause_schedule",
    "progress",
    "promote",
    "prune",
    "prune_limits",
    "queues",
    "read_steps",
    "ready",
    "ready_types",
    "renew",
    "reschedule",
    "rescue",
    "reset_limit",
    "resume",
    "resume_limit",
    "resume_schedule",
    "retry",
    "see_schedules",
    "set_limit",
    "set_progress",
    "set_status",
    "settle",
    "stand",
    "survey",
    "tick",
    "undeclare",
    "undeclared",
    "versions",
    "wanted_keys",
    "workers",
    "write_step",
]
