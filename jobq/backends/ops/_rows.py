"""Between stored rows and jobs."""

from __future__ import annotations

from typing import Any

import msgspec

from jobq._model import Attempt, Job, JobStatus, instant
from jobq.backends import _tables as t
from jobq.backends._statement import Row

j = t.job.c
JOB = (
    j.id,
    j.type,
    j.queue,
    j.status,
    j.priority,
    j.payload,
    j.declared,
    j.progress,
    j.message,
    j.result,
    j.error,
    j.error_code,
    j.attempts,
    j.max_attempts,
    j.rate_limited_count,
    j.released_count,
    j.snoozed_count,
    j.crash_count,
    j.timeout_ms,
    j.unique_key,
    j.owner,
    j.metadata,
    j.worker,
    j.cancel_requested,
    j.version,
    j.created_at,
    j.run_at,
    j.updated_at,
    j.started_at,
    j.completed_at,
    j.expires_at,
    j.lease_until,
    j.batch_id,
    j.partial,
    j.lane,
    j.costs,
)


def loads(text: str | None) -> Any:
    """Stored JSON. A hand-written INSERT may hold text that is none; it is shown as it is."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def to_job(row: Row, *, created: bool = True) -> Job:
    """The job of a row of the columns `JOB`."""
    return Job(
        id=row[0],
        type=row[1],
        queue=row[2],
        status=JobStatus(row[3]),
        priority=row[4],
        payload=loads(row[5]),
        declared=bool(row[6]),
        progress=row[7],
        message=row[8],
        result=loads(row[9]),
        error=row[10],
        error_code=row[11],
        attempts=row[12],
        max_attempts=row[13],
        rate_limited_count=row[14],
        released_count=row[15],
        snoozed_count=row[16],
        crash_count=row[17],
        timeout=row[18] / 1000 if row[18] else None,
        unique_key=row[19],
        owner=row[20],
        metadata=loads(row[21]) or {},
        worker=row[22],
        cancel_requested=bool(row[23]),
        version=row[24],
        created_at=instant(row[25]),  # type: ignore[arg-type]
        run_at=instant(row[26]),  # type: ignore[arg-type]
        updated_at=instant(row[27]),  # type: ignore[arg-type]
        started_at=instant(row[28]),
        completed_at=instant(row[29]),
        expires_at=instant(row[30]),
        lease_until=instant(row[31]),
        batch_id=row[32],
        partial=loads(row[33]),
        created=created,
    )


a = t.attempt.c
ATTEMPT = (
    a.number,
    a.outcome,
    a.worker,
    a.started_at,
    a.ended_at,
    a.error,
    a.error_code,
    a.traceback,
)


def to_attempt(row: Row) -> Attempt:
    """The attempt of a row of the columns `ATTEMPT`."""
    return Attempt(
        number=row[0],
        outcome=row[1],
        worker=row[2],
        started_at=instant(row[3]),  # type: ignore[arg-type]
        ended_at=instant(row[4]),  # type: ignore[arg-type]
        error=row[5],
        error_code=row[6],
        traceback=row[7],
    )
