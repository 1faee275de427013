"""How values look on a terminal, and as JSON."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from jobq._model import Attempt, Job, WorkerInfo
from jobq.cli import _terminal as terminal

NOTE = 60
"""How many letters of a message or an error a table shows."""


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def say(args: Namespace, text: str, **facts: Any) -> int:
    """Say what was done, as text or with `--json` as facts; the exit code."""
    if args.json:
        print_json(facts)
    else:
        print(text)
    return 0


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns; every cell is one line, without control characters.

    On a terminal long cells are cut until the table fits, but for those of the first column, which
    names things.
    """
    lines = [[one_line(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(map(terminal.width, column)) for column in zip(*lines, strict=True)]
    if (columns := terminal.columns()) is not None:
        least = list(map(terminal.width, headers))
        widths = terminal.fitted(widths, least, columns)
    for line in lines:
        cells = (terminal.filled(cell, width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def print_facts(facts: Iterable[tuple[str, object]], indent: str = "") -> None:
    """Print names and values, one a line, without those that are `None`."""
    shown = [(name, one_line(value)) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{indent}{name.ljust(width)}  {value}".rstrip())


def print_block(title: str, text: str) -> None:
    """Print a title and an indented text of several lines."""
    print(f"\n{title}")
    for line in text.splitlines():
        print(f"  {printable(line)}".rstrip())


def pretty(value: Any) -> str:
    """JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def one_line(value: object) -> str:
    """A value as one line of a table; `None` is a dash."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return moment(value)
    return printable(str(value))


def printable(text: str) -> str:
    """The text without control characters, which could do things to a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str | None) -> str:
    """The first line of a text, if need be without its end."""
    line = (text or "").strip().partition("\n")[0]
    return line if len(line) <= NOTE else line[: NOTE - 1] + "…"


def moment(value: datetime) -> str:
    """An instant for people, in UTC."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def span(seconds: float) -> str:
    """A duration for people.

    >>> span(42.4), span(5400), span(400_000)
    ('42 s', '90 min', '4 d 15 h')
    """
    whole = max(0, round(seconds))
    if whole < 600:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 120:
        return f"{minutes} min"
    hours, days = minutes // 60, minutes // 1440
    if days < 2:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def iso(value: datetime | None) -> str | None:
    """An instant in JSON."""
    if value is None:
        return None
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03}Z"


def job_details(job: Job, history: Iterable[Attempt]) -> dict[str, Any]:
    """Everything about a job: the JSON of `Job.to_dict`, and what that leaves out."""
    return {
        **job.to_dict(),
        "payload": job.payload,
        "owner": job.owner,
        "metadata": dict(job.metadata),
        "uniqueKey": job.unique_key,
        "declared": job.declared,
        "timeout": job.timeout,
        "expiresAt": iso(job.expires_at),
        "worker": job.worker,
        "leaseUntil": iso(job.lease_until),
        "cancelRequested": job.cancel_requested,
        "rateLimitedCount": job.rate_limited_count,
        "releasedCount": job.released_count,
        "snoozedCount": job.snoozed_count,
        "crashCount": job.crash_count,
        "version": job.version,
        "history": [attempt_details(attempt) for attempt in history],
    }


def attempt_details(attempt: Attempt) -> dict[str, Any]:
    """An attempt of the history, in JSON."""
    return {
        "number": attempt.number,
        "outcome": attempt.outcome,
        "worker": attempt.worker,
        "startedAt": iso(attempt.started_at),
        "endedAt": iso(attempt.ended_at),
        "error": attempt.error,
        "errorCode": attempt.error_code,
        "traceback": attempt.traceback,
    }


def worker_details(worker: WorkerInfo) -> dict[str, Any]:
    """A worker, in JSON; no queues means all."""
    return {
        "id": worker.id,
        "label": worker.label,
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "queues": list(worker.queues),
        "types": list(worker.types),
        "slots": worker.slots,
        "busy": worker.busy,
        "abandoned": worker.abandoned,
        "alive": worker.alive,
        "startedAt": iso(worker.started_at),
        "seenAt": iso(worker.seen_at),
    }
