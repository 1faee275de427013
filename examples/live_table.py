"""Show jobs in the terminal on their way, or line by line where there is no terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

import jobq

COLOURS = {"pending": "yellow", "processing": "cyan", "completed": "green"}
EVERY = 0.1


async def watch(
    queue: jobq.AsyncQueue, jobs: Sequence[jobq.Job], names: Mapping[str, str], console: Console
) -> list[jobq.Job]:
    """Show jobs until all are finished, and return them as they are then."""
    ids = [job.id for job in jobs]
    seen: dict[str, str] = {}
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            jobs = await queue.get_many(ids)
            live.update(table(jobs, names), refresh=True)
            if not console.is_terminal:
                tell(jobs, names, seen, console)
            if all(job.status.finished for job in jobs):
                break
            await asyncio.sleep(EVERY)
    console.print(table(jobs, names))
    return [*jobs]


def table(jobs: Sequence[jobq.Job], names: Mapping[str, str]) -> Table:
    """One row for each job; where it is too wide, the message gives way."""
    columns = [Column(name, no_wrap=True) for name in ("image", "status", "progress", "", "tries")]
    columns.insert(4, Column("message"))
    result = Table(*columns, box=SIMPLE_HEAD)
    for job in jobs:
        result.add_row(
            Text(names[job.id]),
            Text(job.status, COLOURS.get(job.status, "red")),
            ProgressBar(total=100, completed=job.progress, width=16),
            f"{job.progress:3} %",
            Text(said(job), no_wrap=True, overflow="ellipsis"),
            f"{job.attempts} of {job.max_attempts}",
        )
    return result


def said(job: jobq.Job) -> str:
    """What a person wants to know next to the status."""
    if job.status == "completed":
        return str(Path(job.result["file"]).name)
    if job.status in ("pending", "failed") and job.error:
        return job.error.splitlines()[0]
    return job.message or ""


def tell(
    jobs: Sequence[jobq.Job], names: Mapping[str, str], seen: dict[str, str], console: Console
) -> None:
    """A line for each job whose status has changed since it was last told."""
    for job in jobs:
        if seen.get(job.id) != job.status:
            seen[job.id] = job.status
            console.out(f"{names[job.id]}: {job.status} {said(job)}".rstrip())
