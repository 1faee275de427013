"""Strike workers between and within paid calls, and read the bill: `python -m tests.paid quick`.

Words: `quick` for fewer moments, `sqlite` or `postgresql` for one database only. The numbers are
those of the provider's ledger. The exit code is 1 where one is not what it must be.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import frozen

import jobq
from examples.fakegemini import FakeGemini, Options
from examples.fakegemini.ledger import Entry
from jobq.testing._postgres import PostgresServer
from tests.paid.app import CALLS, EVERY, IMAGES, PACE, WINDOW, router

DATABASES = ("sqlite", "postgresql")
PAID = ("script", *(f"image:{n}" for n in range(IMAGES)), "video")
MOMENTS = (*PAID, "wait", "upload")
LONGEST = 600.0
CLIPS = 50


@frozen
class Fault:
    """When a job's worker is struck, and by what."""

    signal: str
    """`KILL`; `TERM` for a call that ends within the grace; `SLOW` for one that does not."""
    where: str
    at: str

    @property
    def most(self) -> int:
        """How many calls may be billed."""
        repeats = self.where == "inside" and self.signal != "TERM" and self.at in PAID
        return CALLS + int(repeats)

    @property
    def videos(self) -> int:
        return 2 if self.most > CALLS and self.at == "video" else 1

    def __str__(self) -> str:
        return f"{self.signal} {self.where} {self.at}"


def faults(*, quick: bool) -> list[Fault]:
    moments = ("script", "image:3", "video", "wait", "upload") if quick else MOMENTS
    kinds = [("KILL", "after"), ("KILL", "inside"), ("TERM", "after"), ("TERM", "inside")]
    found = [Fault(signal, where, at) for signal, where in kinds for at in moments]
    return found + [Fault("SLOW", "inside", at) for at in moments if at in PAID]


@contextmanager
def worker(url: str, provider: str, folder: Path, slots: int, grace: float) -> Iterator[Any]:
    """A worker process, which is ended at last."""
    command = [sys.executable, "-m", "tests.paid.app", url, provider, str(slots), str(grace)]
    environment = {**os.environ, "PAID_FOLDER": str(folder)}
    with (folder / "worker.err").open("ab") as errors:
        process = subprocess.Popen(command, env=environment, stderr=errors)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def is_over(queue: jobq.Queue) -> bool:
    counts = queue.counts()
    return not sum(counts[status] for status in jobq.JobStatus if not status.finished)


def run_all(url: str, provider: str, folder: Path, *, slots: int = 1, grace: float = 2.0) -> int:
    """Run workers, one after the other, until no job is left; how many it took."""
    ends = time.monotonic() + LONGEST
    number = 0
    with jobq.Queue(url, router=router) as queue:
        while not is_over(queue):
            number += 1
            with worker(url, provider, folder, slots, grace) as process:
                while process.poll() is None and not is_over(queue):
                    assert time.monotonic() < ends, f"not over after {LONGEST:.0f} s: see {folder}"
                    time.sleep(0.1)
    return number


# --- the bill of jobs whose workers were struck -------------------------------------------------


def strike(url: str, folder: Path, *, quick: bool) -> Iterator[tuple[str, str, bool]]:
    """(what, figure, whether it is right) for each fault."""
    plan = {f"key-{n}": fault for n, fault in enumerate(faults(quick=quick))}
    with FakeGemini(Options(latency=0.02, video_seconds=1.0)) as fake:
        with jobq.Queue(url, router=router) as queue:
            jobs = {
                key: queue.enqueue(
                    "reel",
                    {
                        "key": key,
                        "fault": {"signal": f.signal, "where": f.where, "at": f.at},
                    },
                ).id
                for key, f in plan.items()
            }
        run_all(url, fake.url, folder)
        with jobq.Queue(url, router=router) as queue:
            found = {key: queue.get(id) for key, id in jobs.items()}
        for key, fault in plan.items():
            entries = [one for one in fake.ledger.entries if one.key == key and one.generates]
            yield str(fault), *_judged(fault, found[key], entries, folder / jobs[key])


def _judged(
    fault: Fault, job: jobq.Job, entries: Sequence[Entry], struck: Path
) -> tuple[str, bool]:
    billed = sum(one.billed > 0 for one in entries)
    videos = sum(one.endpoint == "predictLongRunning" for one in entries)
    attempts = 2 if fault.signal == "KILL" else 1
    # The fault after the last step strikes a handler that is done, or nearly.
    right = (
        struck.exists()
        and job.status == "completed"
        and CALLS <= billed <= fault.most
        and videos <= fault.videos
        and job.attempts == attempts
    )
    figure = (
        f"{job.status}, {billed} billed (≤ {fault.most}), {videos} videos, attempt {job.attempts}"
    )
    return figure, right


# --- waiting without a slot ---------------------------------------------------------------------


def park(url: str, folder: Path, *, quick: bool) -> Iterator[tuple[str, str, bool]]:
    """Many videos on two slots, under a limit for beginning them."""
    count = 15 if quick else CLIPS
    options = Options(rpm=PACE, speed=60 / WINDOW, video_seconds=40)
    most = 0
    with FakeGemini(options) as fake:
        with jobq.Queue(url, router=router) as queue:
            queue.enqueue_many(("clip", {"key": "key-clips"}) for _ in range(count))
            with worker(url, fake.url, folder, 2, 2.0):
                ends = time.monotonic() + LONGEST
                while not is_over(queue):
                    most = max(most, queue.counts()["processing"])
                    assert time.monotonic() < ends, f"not over: see {folder}"
                    time.sleep(0.02)
        entries = fake.ledger.entries
    starts = sorted(one.arrived for one in entries if one.generates)
    refused = Counter(str(one.outcome) for one in entries)["rate_limited"]
    rate = jobq.RateLimit("veo", PACE, per=WINDOW).effective_rate
    pace = (len(starts) - 1) / (starts[-1] - starts[0])
    late = max(_lateness(entries))
    yield "videos begun", f"{len(starts)} (= {count})", len(starts) == count
    yield "refusals by the provider", f"{refused} (= 0)", refused == 0
    yield "most jobs in slots", f"{most} (≤ 2)", most <= 2
    yield "pace of starts", f"{pace:.2f}/s (≥ 95 % of {rate:.2f})", pace >= 0.95 * rate
    yield "latest look", f"{late:.2f} s late (≤ 1)", late <= 1


def _lateness(entries: Sequence[Entry]) -> Iterator[float]:
    """How late operations were looked at, in seconds."""
    looks: dict[str, list[float]] = {}
    for one in entries:
        if one.operation is not None:
            looks.setdefault(one.operation, []).append(one.arrived)
    for moments in looks.values():
        yield from (later - earlier - EVERY for earlier, later in pairwise(sorted(moments)))


def main(words: Sequence[str]) -> int:
    if unknown := set(words) - {"quick", *DATABASES}:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}")
    wrong = 0
    with ExitStack() as stack:
        server = None
        for database in [one for one in DATABASES if one in words] or DATABASES:
            for part in (strike, park):
                folder = Path(tempfile.mkdtemp(prefix="jobq-paid-"))
                url = f"sqlite:///{folder / 'jobs.db'}"
                if database == "postgresql":
                    server = server or stack.enter_context(PostgresServer.start())
                    url = server.create_database(f"{part.__name__}_{folder.name}")
                    with jobq.Queue(url) as queue:
                        queue.migrate()
                for what, figure, right in part(url, folder, quick="quick" in words):
                    wrong += not right
                    print(
                        f"{database:10}  {what:22}  {figure}{'' if right else '  WRONG'}",
                        flush=True,
                    )
    print(f"\n{wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
