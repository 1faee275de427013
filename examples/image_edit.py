"""Edit pictures in the background.

    python -m examples.image_edit [FILE or URL …] [--prompt TEXT …] [--out FOLDER]

Enqueues a job for each picture and works them off in this process, on a SQLite file or on
`DATABASE_URL`. The first job fails at its first attempt, on purpose, and is tried again. The
worker could as well be a process of its own: `jobq worker examples.image_edit:queue`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from PIL import UnidentifiedImageError
from rich.console import Console

import jobq
from examples import edits
from examples.live_table import watch

PICTURES = sorted(Path(__file__).parent.glob("images/*.jpg"))
PROMPTS = ["warm sepia", "blue night", "mono", "rose"]
PATIENCE = 120.0

queue = jobq.AsyncQueue(os.environ.get("DATABASE_URL") or "sqlite:///image_edit.db")


@dataclass(frozen=True)
class ImageEdit:
    """The payload of an `image_edit` job."""

    source: str
    """A path, or an http(s) address."""
    prompt: str
    output: str
    pause: float = 0.0
    """Seconds to rest after each edit, so that one can watch."""
    fails_once: bool = False


@jobq.handler(
    "image_edit",
    retry=jobq.Retry(
        max_attempts=3,
        backoff=jobq.Exponential(base=1, cap=30, jitter="equal"),
        rules={FileNotFoundError: None},  # no attempt will find it
    ),
    timeout=60,
)
async def image_edit(payload: ImageEdit, job: jobq.JobContext) -> dict[str, object]:
    """Read, edit, write. What computes or blocks runs in a thread, so that other jobs go on."""
    await job.progress(5, "reading")
    data = await asyncio.to_thread(edits.read, payload.source)
    try:
        picture = await asyncio.to_thread(edits.decode, data)
    except UnidentifiedImageError as error:
        raise jobq.Permanent("not_an_image", f"{payload.source} is no image") from error

    steps = edits.steps(payload.prompt)
    for number, (name, edit) in enumerate(steps):
        await job.progress(10 + 80 * number / len(steps), name)
        picture = await asyncio.to_thread(edit, picture)
        await asyncio.sleep(payload.pause)
        if payload.fails_once and job.attempt == 1 and name == "glow":
            raise ConnectionError("failed on purpose; the next attempt will do")

    await job.progress(90, "writing")
    await asyncio.to_thread(edits.save, picture, Path(payload.output))
    return {"file": payload.output, "width": picture.width, "height": picture.height}


async def run(sources: list[str], prompts: list[str], out: Path, pause: float) -> int:
    """Enqueue the jobs, work them off, show how they go; the program's exit code."""
    console = Console()
    async with queue:
        await queue.migrate()  # once for a deployment: `jobq migrate`
        payloads = [
            ImageEdit(
                source=source,
                prompt=prompt,
                output=str(out / f"{number}-{Path(source).stem}.jpg"),
                pause=pause,
                fails_once=number == 1,
            )
            for number, (source, prompt) in enumerate(zip(sources, cycle(prompts)), start=1)
        ]
        jobs = [await queue.enqueue(image_edit, payload) for payload in payloads]
        names = {job.id: Path(p.source).name for job, p in zip(jobs, payloads, strict=True)}
        try:
            async with asyncio.timeout(PATIENCE), jobq.Worker(queue, concurrency=2).running():
                jobs = await watch(queue, jobs, names, console)
        except TimeoutError:
            console.out(f"not finished within {PATIENCE:g} s", style="red")
            return 1
    return report(jobs, console)


def report(jobs: list[jobq.Job], console: Console) -> int:
    """List the files that were written, and say what went wrong."""
    done = [job for job in jobs if job.status == "completed"]
    console.out(f"{len(done)} of {len(jobs)} jobs completed")
    for job in done:
        console.out(job.result["file"], style="green")
    for job in jobs:
        if job.status != "completed":
            console.out(f"{job.status}: {job.error}", style="red")
    return 0 if len(done) == len(jobs) else 1


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.image_edit", description="Edit pictures."
    )
    parser.add_argument(
        "sources", nargs="*", metavar="FILE or URL", help="default: examples/images"
    )
    parser.add_argument(
        "--prompt", action="append", metavar="TEXT", help=f"may name {', '.join(edits.TINTS)}"
    )
    parser.add_argument("--out", type=Path, default=Path("image_edit_results"), metavar="FOLDER")
    parser.add_argument(
        "--pause", type=float, default=0.25, metavar="SECONDS", help="after each edit"
    )
    return parser.parse_args(given)


def main() -> int:
    options = arguments()
    sources = [absolute(source) for source in options.sources or map(str, PICTURES)]
    prompts = options.prompt or PROMPTS
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    return asyncio.run(run(sources, prompts, out, options.pause))


def absolute(source: str) -> str:
    """A worker may run in another folder, so a payload has no relative paths."""
    return source if "://" in source else str(Path(source).resolve())


if __name__ == "__main__":
    sys.exit(main())
