"""The tables: one definition for both databases.

Everything carries the schema version that brought it (`info={"since": 1}` unless said); the
migrations are derived from that, see `_migrations`. Nothing is ever changed or removed within a
major version, only added, with a server default.

On PostgreSQL instants are `timestamptz`, ids `uuid`, flags `boolean`, JSON `json` (not `jsonb`:
a payload comes back exactly as it went in, on both databases). On SQLite instants are integer
microseconds, flags 0 or 1, ids and JSON text.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ClauseElement
from sqlalchemy.types import TypeEngine

from jobq._model import FINISHED, LIVE

SCHEMA_VERSION = 1
"""What this version of jobq writes."""
COMPATIBLE_FROM = 1
"""The oldest client that may go on when a database has this schema."""

metadata = MetaData()

Instant: TypeEngine[Any] = Integer().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
Json: TypeEngine[Any] = Text().with_variant(postgresql.JSON(), "postgresql")
Id: TypeEngine[Any] = Text().with_variant(postgresql.UUID(as_uuid=False), "postgresql")
Flag: TypeEngine[Any] = Integer().with_variant(Boolean(), "postgresql")
Number: TypeEngine[Any] = Integer()
Small: TypeEngine[Any] = Integer().with_variant(SmallInteger(), "postgresql")
Big: TypeEngine[Any] = Integer().with_variant(BigInteger(), "postgresql")


class PerDialect(ClauseElement):
    """A server default that reads differently on each database."""

    inherit_cache = False

    def __init__(self, *, sqlite: str, postgresql: str) -> None:
        self.by_dialect = {"sqlite": sqlite, "postgresql": postgresql}


@compiles(PerDialect)
def _spell(element: PerDialect, compiler: Any, **_: Any) -> str:
    return element.by_dialect[compiler.dialect.name]


NOW = PerDialect(
    # julianday() is good to a millisecond, all that a hand-written INSERT needs.
    sqlite="(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000)",
    postgresql="now()",
)
RANDOM_ID: Any = PerDialect(
    sqlite=(
        "(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || "
        "substr(hex(randomblob(2)), 2) || '-a' || substr(hex(randomblob(2)), 2) || '-' || "
        "hex(randomblob(6))))"
    ),
    postgresql="gen_random_uuid()",
)
NO = PerDialect(sqlite="0", postgresql="false")


def _column(name: str, kind: TypeEngine[Any], default: Any = None) -> Column[Any]:
    """A column that may be left out of an INSERT: it has a default, or may be NULL."""
    server_default: Any = text(default) if isinstance(default, str) else default
    return Column(name, kind, nullable=default is None, server_default=server_default)


def _required(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=False)


def in_words(values: frozenset[Any]) -> str:
    """`'a', 'b'`, for a predicate that an index and a statement must spell alike."""
    return ", ".join(f"'{value}'" for value in sorted(values))


IS_LIVE = f"status IN ({in_words(LIVE)})"

job = Table(
    "jobq_job",
    metadata,
    Column("id", Id, primary_key=True, nullable=False, server_default=RANDOM_ID),
    _required("type", Text()),
    _required("payload", Json),
    _column("queue", Text(), "'default'"),
    _column("status", Text(), "'pending'"),
    # Whether a process that knows the handler has checked the payload and filled in the options.
    _column("declared", Flag, NO),
    # Whether it may be claimed now: declared, due, and nobody's. A boolean instead of a condition,
    # so that the index of the claim holds no future, unknown or running jobs to walk over.
    _column("ready", Flag, NO),
    _column("priority", Small, "0"),
    _column("run_at", Instant, NOW),
    _column("max_attempts", Number),
    _column("timeout_ms", Big),
    _column("expires_at", Instant),
    # The type and the keys of its limits, and what it costs of them where that is not 1.
    _column("lane", Text()),
    _column("costs", Json),
    # What the next start will need, and the names of the keys that the last one got, while `lane`
    # says what its return from waiting needs.
    _column("start_lane", Text()),
    _column("start_keys", Json),
    # Since when a provider has refused it without a start in between that succeeded.
    _column("limited_since", Instant),
    _column("on_ambiguous", Text()),
    # The name of the endpoint that is told how it ended, and whether that is under way.
    _column("webhook", Text()),
    _column("webhook_sent", Flag, NO),
    # Whether an attempt ended without it being known whether the provider did the work.
    _column("ambiguous", Flag, NO),
    _column("unique_key", Text()),
    # Unique among the jobs of an owner as long as the row is kept; the hash tells what was asked.
    _column("idempotency_key", Text()),
    _column("idempotency_hash", Text()),
    _column("owner", Text()),
    _column("metadata", Json),
    _column("keep_seconds", Big),
    # The batch that it was enqueued with.
    _column("batch_id", Id),
    # The names of the options that the enqueuer gave, until the job is declared.
    _column("given", Text()),
    _column("attempts", Number, "0"),
    _column("rate_limited_count", Number, "0"),
    _column("released_count", Number, "0"),
    # How often a time budget was used up before it had ended.
    _column("overrun_count", Number, "0"),
    _column("snoozed_count", Number, "0"),
    _column("crash_count", Number, "0"),
    _column("fence", Big),
    _column("worker", Text()),
    _column("lease_until", Instant),
    _column("cancel_requested", Flag, NO),
    _column("progress", Small, "0"),
    _column("message", Text()),
    # What its handler has shown so far; gone when it completes, because then there is a result.
    _column("partial", Json),
    _column("result", Json),
    _column("error", Text()),
    _column("error_code", Text()),
    _column("version", Number, "1"),
    _column("created_at", Instant, NOW),
    _column("updated_at", Instant, NOW),
    _column("started_at", Instant),
    _column("completed_at", Instant),
    _column("prune_at", Instant),
)

attempt = Table(
    "jobq_attempt",
    metadata,
    Column("job_id", Id, primary_key=True, nullable=False),
    Column("fence", Big, primary_key=True, nullable=False, autoincrement=False),
    _required("number", Number),
    _required("outcome", Text()),
    _column("worker", Text()),
    _column("error", Text()),
    _column("error_code", Text()),
    _column("traceback", Text()),
    _required("started_at", Instant),
    _required("ended_at", Instant),
    sqlite_with_rowid=False,
)

step = Table(
    "jobq_step",
    metadata,
    Column("job_id", Id, primary_key=True, nullable=False),
    Column("name", Text(), primary_key=True, nullable=False),
    # started, done, failed; of what a job waits for: waiting, resumed, done, expired.
    _required("status", Text()),
    _column("version", Number, "1"),
    _column("args_hash", Text()),
    _column("result", Json),
    _column("error", Text()),
    # The claim that wrote it.
    _required("fence", Big),
    # Who may resume it: a hook's token, or a provider's name and its id of the work.
    _column("token", Text()),
    _column("event_id", Text()),
    # Whether its handler can cancel the work that the job waits for.
    _column("cancels", Flag, NO),
    _column("deadline", Instant),
    _required("started_at", Instant),
    _column("finished_at", Instant),
    sqlite_with_rowid=False,
)

worker = Table(
    "jobq_worker",
    metadata,
    Column("id", Text(), primary_key=True, nullable=False),
    _required("label", Text()),
    _required("host", Text()),
    _required("pid", Number),
    # Of jobq.
    _column("version", Text()),
    _required("queues", Json),
    _required("types", Json),
    # The numbers of the limits that it declares, and the names of the keys that it holds.
    _column("limits", Json),
    _column("pools", Json),
    _required("slots", Number),
    _column("busy", Number, "0"),
    _column("abandoned", Number, "0"),
    _required("started_at", Instant),
    _required("seen_at", Instant),
    _required("lease_until", Instant),
)

queue = Table(
    "jobq_queue",
    metadata,
    Column("queue", Text(), primary_key=True, nullable=False),
    _column("paused", Flag, NO),
    _column("paused_until", Instant),
    _column("updated_at", Instant, NOW),
)

limit = Table(
    "jobq_limit",
    metadata,
    Column("key", Text(), primary_key=True, nullable=False),
    # The numbers of a declared limit, or of a key that an operator has set. A key that was filled
    # in ("tenant:7") follows the row of its template ("tenant:{owner}") where it has none.
    _column("spec", Json),
    # Whether an operator has set the numbers: then no declaration changes them.
    _column("overridden", Flag, NO),
    _column("tat", Instant),
    _column("idle_at", Instant),
    # The job that saves up for its start, before which no other of its priority may go.
    _column("held_for", Text()),
    _column("held_priority", Small, "0"),
    _column("held_until", Instant),
    _column("day", Text()),
    _column("used", Big, "0"),
    _column("paused", Flag, NO),
    _column("blocked_until", Instant),
    _column("reason", Text()),
    _column("started", Big, "0"),
    _column("refused", Big, "0"),
    _column("updated_at", Instant, NOW),
)

lane = Table(
    "jobq_lane",
    metadata,
    Column("queue", Text(), primary_key=True, nullable=False),
    Column("lane", Text(), primary_key=True, nullable=False),
    _required("served_at", Instant),
)

schedule = Table(
    "jobq_schedule",
    metadata,
    Column("name", Text(), primary_key=True, nullable=False),
    # What the worker that started last declares.
    _required("type", Text()),
    _required("expression", Text()),
    _required("tz", Text()),
    _required("catch_up", Text()),
    _column("overlap", Flag, NO),
    _required("payload", Json),
    _column("queue", Text()),
    _column("priority", Small),
    _column("owner", Text()),
    _column("paused", Flag, NO),
    # All ticks up to here have been dealt with.
    _required("since", Instant),
    _column("next_tick", Instant),
    _column("last_tick", Instant),
    _column("last_job", Id),
    # When a living worker last said that its code has it.
    _required("seen_at", Instant),
)

tick = Table(
    "jobq_tick",
    metadata,
    Column("schedule", Text(), primary_key=True, nullable=False),
    Column("tick", Instant, primary_key=True, nullable=False, autoincrement=False),
    # NULL where the tick was passed over: the job of an earlier one was unfinished.
    _column("job_id", Id),
    sqlite_with_rowid=False,
)

batch = Table(
    "jobq_batch",
    metadata,
    Column("id", Id, primary_key=True, nullable=False, server_default=RANDOM_ID),
    _required("total", Number),
    _column("owner", Text()),
    # The job to enqueue when all have ended: its row as it is to be inserted, and its id.
    _column("then_row", Json),
    _column("then_id", Id),
    _column("created_at", Instant, NOW),
    _column("ended_at", Instant),
    _column("prune_at", Instant),
)

spend = Table(
    "jobq_spend",
    metadata,
    Column("id", Id, primary_key=True, nullable=False, server_default=RANDOM_ID),
    _required("provider", Text()),
    # The provider's name of the request; where it has none, nothing tells a record from its repeat.
    _column("request_id", Text()),
    _required("micros", Big),
    _column("model", Text()),
    _column("units", Json),
    # Whose it was. The job may be gone by now: what it cost is not.
    _required("job_id", Id),
    _required("type", Text()),
    _required("queue", Text()),
    _column("owner", Text()),
    _required("attempt", Number),
    _column("fence", Big),
    _column("worker", Text()),
    _column("spent_at", Instant, NOW),
)

stat = Table(
    "jobq_stat",
    metadata,
    # When the minute began.
    Column("minute", Instant, primary_key=True, nullable=False, autoincrement=False),
    Column("worker", Text(), primary_key=True, nullable=False),
    Column("queue", Text(), primary_key=True, nullable=False),
    Column("type", Text(), primary_key=True, nullable=False),
    _column("completed", Number, "0"),
    _column("failed", Number, "0"),
    _column("retried", Number, "0"),
    _column("duration_ms", Big, "0"),
    sqlite_with_rowid=False,
)

artifact = Table(
    "jobq_artifact",
    metadata,
    Column("id", Id, primary_key=True, nullable=False),
    # No foreign key: artifacts stay when their job is pruned.
    _required("job_id", Id),
    _column("step", Text(), "''"),
    _required("slot", Text()),
    _required("name", Text()),
    # Where it is in the storage. Several may be at one place, where they are the same bytes.
    _required("key", Text()),
    _required("sha256", Text()),
    _required("bytes", Big),
    _required("content_type", Text()),
    # `uploading`, `stored`, `replaced`, or `deleting` while a sweep removes it.
    _column("status", Text(), "'uploading'"),
    _column("created_at", Instant, NOW),
    _column("stored_at", Instant),
    # Since when a sweep has been deleting its object.
    _column("swept_at", Instant),
)

webhook = Table(
    "jobq_webhook",
    metadata,
    Column("name", Text(), primary_key=True, nullable=False),
    # Of its URL: another one is another endpoint, and not disabled.
    _required("fingerprint", Text()),
    _required("disabled_at", Instant),
    _required("reason", Text()),
)

schema = Table(
    "jobq_schema",
    metadata,
    Column("version", Number, primary_key=True, nullable=False, autoincrement=False),
    _required("compatible_from", Number),
    _column("applied_at", Instant, NOW),
)


def _index(
    name: str, table: Table, *columns: str, where: str | None = None, unique: bool = False
) -> None:
    options: dict[str, Any] = {}
    if where is not None:
        options = {"postgresql_where": text(where), "sqlite_where": text(sqlite_predicate(where))}
    Index(name, *(text(column) for column in columns), _table=table, unique=unique, **options)


def sqlite_predicate(where: str) -> str:
    """The predicate with its flags spelled out: SQLite matches index and query word by word."""
    flag = r"(NOT )?\b(declared|ready|webhook_sent)\b"
    return re.sub(flag, lambda match: f"{match[2]} = {0 if match[1] else 1}", where)


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
_index("jobq_job_status", job, "status", "id")
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
