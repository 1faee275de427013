"""The tables: one definition for both databases.

Everything carries the schema version that brought it (`info={"since": 1}` unless said); the
migrations are derived from that, see `_migrations`. Nothing is ever changed or removed within a
major version, only added, with a server default. How columns are typed and spelled on each
database is in `_columns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Index, MetaData, Table, Text, text

from jobq._model import FINISHED, LIVE
from jobq.backends._columns import (
    NO,
    NOW,
    RANDOM_ID,
    Big,
    Flag,
    Id,
    Instant,
    Json,
    Number,
    Small,
    column,
    in_words,
    required,
    sqlite_predicate,
)

SCHEMA_VERSION = 1
"""What this version of jobq writes."""
COMPATIBLE_FROM = 1
"""The oldest client that may go on when a database has this schema."""

metadata = MetaData()

# What only one database is told is in the `info`, by the name of that: given to SQLAlchemy as an
# option, it would load the dialects of both.
WITHOUT_ROWID: dict[Any, Any] = {"sqlite": {"with_rowid": False}}

IS_LIVE = f"status IN ({in_words(LIVE)})"

job = Table(
    "jobq_job",
    metadata,
    Column("id", Id, primary_key=True, nullable=False, server_default=RANDOM_ID),
    required("type", Text()),
    required("payload", Json),
    column("queue", Text(), "'default'"),
    column("status", Text(), "'pending'"),
    # Whether a process that knows the handler has checked the payload and filled in the options.
    column("declared", Flag, NO),
    # Whether it may be claimed now: declared, due, and nobody's. A boolean instead of a condition,
    # so that the index of the claim holds no future, unknown or running jobs to walk over.
    column("ready", Flag, NO),
    column("priority", Small, "0"),
    column("run_at", Instant, NOW),
    column("max_attempts", Number),
    column("timeout_ms", Big),
    column("expires_at", Instant),
    # The type and the keys of its limits, and what it costs of them where that is not 1.
    column("lane", Text()),
    column("costs", Json),
    # What the next start will need, and the names of the keys that the last one got, while `lane`
    # says what its return from waiting needs.
    column("start_lane", Text()),
    column("start_keys", Json),
    # Since when a provider has refused it without a start in between that succeeded.
    column("limited_since", Instant),
    column("on_ambiguous", Text()),
    # The name of the endpoint that is told how it ended, and whether that is under way.
    column("webhook", Text()),
    column("webhook_sent", Flag, NO),
    # Whether an attempt ended without it being known whether the provider did the work.
    column("ambiguous", Flag, NO),
    column("unique_key", Text()),
    # Unique among the jobs of an owner as long as the row is kept; the hash tells what was asked.
    column("idempotency_key", Text()),
    column("idempotency_hash", Text()),
    column("owner", Text()),
    column("metadata", Json),
    column("keep_seconds", Big),
    # The batch that it was enqueued with.
    column("batch_id", Id),
    # The names of the options that the enqueuer gave, until the job is declared.
    column("given", Text()),
    column("attempts", Number, "0"),
    column("rate_limited_count", Number, "0"),
    column("released_count", Number, "0"),
    # How often a time budget was used up before it had ended.
    column("overrun_count", Number, "0"),
    column("snoozed_count", Number, "0"),
    column("crash_count", Number, "0"),
    column("fence", Big),
    column("worker", Text()),
    column("lease_until", Instant),
    column("cancel_requested", Flag, NO),
    column("progress", Small, "0"),
    column("message", Text()),
    # What its handler has shown so far; gone when it completes, because then there is a result.
    column("partial", Json),
    column("result", Json),
    column("error", Text()),
    column("error_code", Text()),
    column("version", Number, "1"),
    column("created_at", Instant, NOW),
    column("updated_at", Instant, NOW),
    column("started_at", Instant),
    column("completed_at", Instant),
    column("prune_at", Instant),
)

attempt = Table(
    "jobq_attempt",
    metadata,
    Column("job_id", Id, primary_key=True, nullable=False),
    Column("fence", Big, primary_key=True, nullable=False, autoincrement=False),
    required("number", Number),
    required("outcome", Text()),
    column("worker", Text()),
    column("error", Text()),
    column("error_code", Text()),
    column("traceback", Text()),
    required("started_at", Instant),
    required("ended_at", Instant),
    info=WITHOUT_ROWID,
)

step = Table(
    "jobq_step",
    metadata,
    Column("job_id", Id, primary_key=True, nullable=False),
    Column("name", Text(), primary_key=True, nullable=False),
    # started, done, failed; of what a job waits for: waiting, resumed, done, expired.
    required("status", Text()),
    column("version", Number, "1"),
    column("args_hash", Text()),
    column("result", Json),
    column("error", Text()),
    # The claim that wrote it.
    required("fence", Big),
    # Who may resume it: a hook's token, or a provider's name and its id of the work.
    column("token", Text()),
    column("event_id", Text()),
    # Whether its handler can cancel the work that the job waits for.
    column("cancels", Flag, NO),
    column("deadline", Instant),
    required("started_at", Instant),
    column("finished_at", Instant),
    info=WITHOUT_ROWID,
)

worker = Table(
    "jobq_worker",
    metadata,
    Column("id", Text(), primary_key=True, nullable=False),
    required("label", Text()),
    required("host", Text()),
    required("pid", Number),
    # Of jobq.
    column("version", Text()),
    required("queues", Json),
    required("types", Json),
    # The numbers of the limits that it declares, and the names of the keys that it holds.
    column("limits", Json),
    column("pools", Json),
    required("slots", Number),
    column("busy", Number, "0"),
    column("abandoned", Number, "0"),
    required("started_at", Instant),
    required("seen_at", Instant),
    required("lease_until", Instant),
)

queue = Table(
    "jobq_queue",
    metadata,
    Column("queue", Text(), primary_key=True, nullable=False),
    column("paused", Flag, NO),
    column("paused_until", Instant),
    column("updated_at", Instant, NOW),
)

limit = Table(
    "jobq_limit",
    metadata,
    Column("key", Text(), primary_key=True, nullable=False),
    # The numbers of a declared limit, or of a key that an operator has set. A key that was filled
    # in ("tenant:7") follows the row of its template ("tenant:{owner}") where it has none.
    column("spec", Json),
    # Whether an operator has set the numbers: then no declaration changes them.
    column("overridden", Flag, NO),
    column("tat", Instant),
    column("idle_at", Instant),
    # The job that saves up for its start, before which no other of its priority may go.
    column("held_for", Text()),
    column("held_priority", Small, "0"),
    column("held_until", Instant),
    column("day", Text()),
    column("used", Big, "0"),
    column("paused", Flag, NO),
    column("blocked_until", Instant),
    column("reason", Text()),
    column("started", Big, "0"),
    column("refused", Big, "0"),
    column("updated_at", Instant, NOW),
)

lane = Table(
    "jobq_lane",
    metadata,
    Column("queue", Text(), primary_key=True, nullable=False),
    Column("lane", Text(), primary_key=True, nullable=False),
    required("served_at", Instant),
)

schedule = Table(
    "jobq_schedule",
    metadata,
    Column("name", Text(), primary_key=True, nullable=False),
    # What the worker that started last declares.
    required("type", Text()),
    required("expression", Text()),
    required("tz", Text()),
    required("catch_up", Text()),
    column("overlap", Flag, NO),
    required("payload", Json),
    column("queue", Text()),
    column("priority", Small),
    column("owner", Text()),
    column("paused", Flag, NO),
    # All ticks up to here have been dealt with.
    required("since", Instant),
    column("next_tick", Instant),
    column("last_tick", Instant),
    column("last_job", Id),
    # When a living worker last said that its code has it.
    required("seen_at", Instant),
)

tick = Table(
    "jobq_tick",
    metadata,
    Column("schedule", Text(), primary_key=True, nullable=False),
    Column("tick", Instant, primary_key=True, nullable=False, autoincrement=False),
    # NULL where the tick was passed over: the job of an earlier one was unfinished.
    column("job_id", Id),
    info=WITHOUT_ROWID,
)

batch = Table(
    "jobq_batch",
    metadata,
    Column("id", Id, primary_key=True, nullable=False, server_default=RANDOM_ID),
    required("total", Number),
    column("owner", Text()),
    # The job to enqueue when all have ended: its row as it is to be inserted, and its id.
    column("then_row", Json),
    column("then_id", Id),
    column("created_at", Instant, NOW),
    column("ended_at", Instant),
    column("prune_at", Instant),
)

spend = Table(
    "jobq_spend",
    metadata,
    Column("id", Id, primary_key=True, nullable=False, server_default=RANDOM_ID),
    required("provider", Text()),
    # The provider's name of the request; where it has none, nothing tells a record from its repeat.
    column("request_id", Text()),
    required("micros", Big),
    column("model", Text()),
    column("units", Json),
    # Whose it was. The job may be gone by now: what it cost is not.
    required("job_id", Id),
    required("type", Text()),
    required("queue", Text()),
    column("owner", Text()),
    required("attempt", Number),
    column("fence", Big),
    column("worker", Text()),
    column("spent_at", Instant, NOW),
)

stat = Table(
    "jobq_stat",
    metadata,
    # When the minute began.
    Column("minute", Instant, primary_key=True, nullable=False, autoincrement=False),
    Column("worker", Text(), primary_key=True, nullable=False),
    Column("queue", Text(), primary_key=True, nullable=False),
    Column("type", Text(), primary_key=True, nullable=False),
    column("completed", Number, "0"),
    column("failed", Number, "0"),
    column("retried", Number, "0"),
    column("duration_ms", Big, "0"),
    info=WITHOUT_ROWID,
)

artifact = Table(
    "jobq_artifact",
    metadata,
    Column("id", Id, primary_key=True, nullable=False),
    # No foreign key: artifacts stay when their job is pruned.
    required("job_id", Id),
    column("step", Text(), "''"),
    required("slot", Text()),
    required("name", Text()),
    # Where it is in the storage. Several may be at one place, where they are the same bytes.
    required("key", Text()),
    required("sha256", Text()),
    required("bytes", Big),
    required("content_type", Text()),
    # `uploading`, `stored`, `replaced`, or `deleting` while a sweep removes it.
    column("status", Text(), "'uploading'"),
    column("created_at", Instant, NOW),
    column("stored_at", Instant),
    # Since when a sweep has been deleting its object.
    column("swept_at", Instant),
)

webhook = Table(
    "jobq_webhook",
    metadata,
    Column("name", Text(), primary_key=True, nullable=False),
    # Of its URL: another one is another endpoint, and not disabled.
    required("fingerprint", Text()),
    required("disabled_at", Instant),
    required("reason", Text()),
)

schema = Table(
    "jobq_schema",
    metadata,
    Column("version", Number, primary_key=True, nullable=False, autoincrement=False),
    required("compatible_from", Number),
    column("applied_at", Instant, NOW),
)


def _index(
    name: str,
    table: Table,
    *columns: str,
    where: str | None = None,
    unique: bool = False,
    partial_on: Sequence[str] = ("postgresql", "sqlite"),
) -> None:
    info: dict[Any, Any] = {}
    if where is not None:
        spelled = {"postgresql": where, "sqlite": sqlite_predicate(where)}
        info = {kind: {"where": text(spelled[kind])} for kind in partial_on}
    Index(name, *(text(column) for column in columns), _table=table, unique=unique, info=info)


READY = "ready AND lane IS NULL"
LIMITED = "ready AND lane IS NOT NULL"
HOLDING = "lane IS NOT NULL AND status IN ('processing', 'waiting')"
SCHEDULED = "declared AND NOT ready AND status IN ('pending', 'rate_limited', 'waiting')"
UNDECLARED = "NOT declared AND status IN ('pending', 'rate_limited')"
UNIQUE = f"unique_key IS NOT NULL AND {IS_LIVE}"
IDEMPOTENT = "idempotency_key IS NOT NULL"
REQUESTED = "request_id IS NOT NULL"
OPEN = "ended_at IS NULL"
QUEUED = "owner IS NOT NULL AND status IN ('pending', 'rate_limited')"
BATCHED = "batch_id IS NOT NULL"
KEPT = "status = 'stored'"
SWEPT = "status <> 'stored'"
UNTOLD = f"webhook IS NOT NULL AND NOT webhook_sent AND status IN ({in_words(FINISHED)})"
EXPIRING = f"expires_at IS NOT NULL AND {IS_LIVE}"

# Hints: SQLite would rather walk all pending jobs by their status, or all jobs there are.
BY_RUN_AT = ("INDEXED BY jobq_job_scheduled", "sqlite")
BY_HOLDING = ("INDEXED BY jobq_job_holding", "sqlite")
BY_STATUS = ("INDEXED BY jobq_job_status", "sqlite")
BY_WEBHOOK = ("INDEXED BY jobq_job_webhook", "sqlite")
BY_EXPIRY = ("INDEXED BY jobq_job_expiry", "sqlite")

# The claim: one range for each (queue, type), already in the order of service.
_index("jobq_job_ready", job, "queue", "type", "priority DESC", "run_at", "id", where=READY)
# The same for jobs with limits: one range for each (queue, lane).
_index("jobq_job_lane", job, "queue", "lane", "priority DESC", "run_at", "id", where=LIMITED)
# Who holds places of a limited concurrency.
_index("jobq_job_holding", job, "lane", where=HOLDING)
# Jobs to come, until they are due.
_index("jobq_job_scheduled", job, "run_at", where=SCHEDULED)
_index("jobq_job_undeclared", job, "type", "id", where=UNDECLARED)
# By what all jobs are, so that PostgreSQL cannot look up ids here: in an empty table it might.
_index("jobq_job_status", job, "status", "id", where="status <> ''", partial_on=["postgresql"])
_index("jobq_job_unique", job, "type", "unique_key", where=UNIQUE, unique=True)
_index(
    "jobq_job_idempotency",
    job,
    "coalesce(owner, '')",
    "idempotency_key",
    where=IDEMPOTENT,
    unique=True,
)
_index("jobq_step_token", step, "token", where="token IS NOT NULL")
_index("jobq_job_owner", job, "owner", "id", where="owner IS NOT NULL")
_index("jobq_job_expiry", job, "expires_at", where=EXPIRING)
_index("jobq_job_prune", job, "prune_at", where="prune_at IS NOT NULL")
# How many jobs an owner has waiting. No running one is in it: a claim writes nothing here.
_index("jobq_job_queued", job, "owner", "type", where=QUEUED)
_index("jobq_job_batch", job, "batch_id", "status", where=BATCHED)
_index("jobq_batch_open", batch, "id", where=OPEN)
_index("jobq_batch_prune", batch, "prune_at", where="prune_at IS NOT NULL")
_index("jobq_spend_request", spend, "provider", "request_id", where=REQUESTED, unique=True)
_index("jobq_spend_job", spend, "job_id")
_index("jobq_spend_owner", spend, "owner", "spent_at", where="owner IS NOT NULL")
_index("jobq_spend_time", spend, "spent_at")
_index("jobq_artifact_job", artifact, "job_id")
_index("jobq_artifact_key", artifact, "key")
_index("jobq_artifact_swept", artifact, "id", where=SWEPT)
_index("jobq_artifact_stored", artifact, "job_id", "step", "slot", where=KEPT, unique=True)
# Who ended, and somebody is still to be told.
_index("jobq_job_webhook", job, "webhook", "id", where=UNTOLD)
