"""The same work done by jobq, as a user gets it; workers run in a process of their own."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jobq
from benchmarks.app import router

ROOT = Path(__file__).parent.parent


class Subject:
    """A jobq queue on one of the databases."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.queue = jobq.Queue(url, router=router)
        self.queue.migrate()

    def close(self) -> None:
        self.queue.close()

    def clear(self) -> None:
        """Remove what an earlier trial left."""
        self.queue.cancel_where()
        while self.queue.delete_where():
            pass

    def enqueue(self, count: int) -> float:
        self.queue.enqueue("noop", {"n": 1})
        started = time.perf_counter()
        for _ in range(count):
            self.queue.enqueue("noop", {"n": 1})
        return count / (time.perf_counter() - started)

    def enqueue_async(self, count: int) -> float:
        async def run() -> float:
            async with jobq.AsyncQueue(self.url, router=router) as queue:
                await queue.enqueue("noop", {"n": 1})
                started = time.perf_counter()
                for _ in range(count):
                    await queue.enqueue("noop", {"n": 1})
                return count / (time.perf_counter() - started)

        return asyncio.run(run())

    def enqueue_many(self, count: int) -> float:
        items = [("noop", {"n": 1})] * count
        started = time.perf_counter()
        self.queue.enqueue_many(items)
        return count / (time.perf_counter() - started)

    def drain(self, count: int, concurrency: int = 100) -> float:
        """From the first claim to the last outcome, by the database's record of them."""
        self.clear()
        self.queue.enqueue_many([("noop", {"n": 1})] * count)
        with self.worker("--burst", "--concurrency", str(concurrency)) as worker:
            assert worker.wait(timeout=120) == 0
        first = self.queue.list(limit=1000).jobs
        done = [job for job in first if job.type == "noop"]
        oldest = self._oldest()
        begun = min(job.started_at for job in [*done, *oldest] if job.started_at)
        ended = max(job.completed_at for job in [*done, *oldest] if job.completed_at)
        assert self.queue.counts()["completed"] == min(count, 10_000)
        return count / (ended - begun).total_seconds()

    def _oldest(self) -> list[jobq.Job]:
        page = self.queue.list(limit=1000)
        while page.next is not None:
            page = self.queue.list(limit=1000, after=page.next)
        return list(page.jobs)

    def pickup(self, count: int) -> float:
        """The median time from `enqueue` returning to the handler's first line, in ms."""
        times = []
        with self.worker():
            self.queue.wait(self.queue.enqueue("pickup", {}).id, timeout=30)
            for n in range(count):
                time.sleep(0.05 + 0.01 * (n % 7))
                job = self.queue.enqueue("pickup", {})
                returned = time.time()
                times.append((self.queue.wait(job.id, timeout=10).result - returned) * 1000)
        return statistics.median(times)

    @contextmanager
    def worker(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "jobq", "worker", "benchmarks.app:queue", *options]
        environment = {**os.environ, "BENCH_URL": self.url, "JOBQ_LOG_LEVEL": "ERROR"}
        with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.wait(timeout=20)


def pickup_in_process(url: str, count: int) -> float:
    """The same within one process: enqueue and worker on one event loop."""

    async def run() -> float:
        times = []
        async with jobq.AsyncQueue(url, router=router) as queue, jobq.Worker(queue).running():
            await queue.wait((await queue.enqueue("pickup", {})).id, timeout=10)
            for _ in range(count):
                await asyncio.sleep(0.05)
                job = await queue.enqueue("pickup", {})
                returned = time.time()
                done = await queue.wait(job.id, timeout=10)
                times.append((done.result - returned) * 1000)
        return statistics.median(times)

    return asyncio.run(run())
