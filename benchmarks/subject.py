"""The same work done by jobq, as a user gets it; workers run in processes of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jobq
from benchmarks.app import EXPECTED, TALLY, router
from benchmarks.database import Database, idled, per_job, worker_counters
from benchmarks.machine import peak_memory_mb
from tests.faults.actors import ROOT, _environment

Process = subprocess.Popen[bytes]
PAYLOAD = {"n": 1}
TABLES = ("jobq_attempt", "jobq_job")
UNDONE = (
    "SELECT NOT EXISTS (SELECT 1 FROM jobq_job WHERE status = 'processing') AND NOT EXISTS "
    "(SELECT 1 FROM jobq_job WHERE {ready} AND lane IS NULL AND queue = 'default' "
    "AND type = '{type}')"
)
COMPLETED = "FROM jobq_job WHERE type = '{type}' AND status = 'completed'"
SECONDS = {
    "sqlite": "(max(completed_at) - min(started_at)) / 1e6",
    "postgresql": "extract(epoch FROM max(completed_at) - min(started_at))::float",
}


class Subject:
    """A jobq queue on one of the databases."""

    def __init__(self, where: Database | str) -> None:
        self.database = where if isinstance(where, Database) else Database(where)
        self.url = self.database.url
        self.is_postgres = self.url.startswith("postgresql")
        self.queue = jobq.Queue(self.url, router=router)
        self.queue.migrate()

    def close(self) -> None:
        self.queue.close()

    def clear(self) -> None:
        """Remove what an earlier trial left."""
        if self.is_postgres:
            self.database.sql(f"TRUNCATE {', '.join(TABLES)}")
        else:
            for table in TABLES:
                self.database.sql(f"DELETE FROM {table}")

    # --- enqueue -------------------------------------------------------------------------------

    def enqueue(self, count: int, payload: Any = PAYLOAD) -> float:
        self.queue.enqueue("noop", payload)
        started = time.perf_counter()
        for _ in range(count):
            self.queue.enqueue("noop", payload)
        return count / (time.perf_counter() - started)

    def enqueue_async(self, count: int) -> float:
        async def run() -> float:
            async with jobq.AsyncQueue(self.url, router=router) as queue:
                await queue.enqueue("noop", PAYLOAD)
                started = time.perf_counter()
                for _ in range(count):
                    await queue.enqueue("noop", PAYLOAD)
                return count / (time.perf_counter() - started)

        return asyncio.run(run())

    def enqueue_many(self, count: int, payload: Any = PAYLOAD) -> float:
        items = [("noop", payload)] * count
        started = time.perf_counter()
        self.queue.enqueue_many(items)
        return count / (time.perf_counter() - started)

    # --- drain ---------------------------------------------------------------------------------

    def drain(self, count: int, **how: Any) -> float:
        """Jobs a second, see `drained`."""
        return self.drained(count, **how)["jobs/s"]

    def drained(
        self,
        count: int,
        *options: str,
        type: str = "noop",
        payload: Any = PAYLOAD,
        processes: int = 1,
        clear: bool = True,
        fill: bool = True,
        idle: float = 0.0,
    ) -> dict[str, float]:
        """From the first claim to the last outcome, by the database's record of them.

        The workers run already and wait for their queue, which is paused until all jobs are in it.
        Without `fill` the time is that of the first `count` of the jobs that are there already.
        `idle` is how many seconds to look at them afterwards.
        """
        if clear:
            self.clear()
        self.queue.pause()
        if fill:
            self.queue.enqueue_many((type, payload) for _ in range(count))
        self._reopen()
        self.database.settle()
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            noting = {TALLY: folder, EXPECTED: str(count)}
            workers = [
                stack.enter_context(self.worker(*options, **noting)) for _ in range(processes)
            ]
            self.until_at_work(processes)
            pids = [worker.pid for worker in workers]
            done = self._completed(type)
            ours, theirs = worker_counters(pids), self.database.counters()
            self.queue.resume()
            self._until_done(type, None if fill else done + count)
            spent = per_job(ours, worker_counters(pids), count)
            memory = sum(map(peak_memory_mb, pids))
            counters = lambda: worker_counters(pids) | self.database.counters()  # noqa: E731
            rest = idled(idle, counters) if idle else {}
            stack.close()
            spent |= per_job(theirs, self.database.counters(), count)
            rate = _tallied(folder, count) if type == "deleted" else self._rate(type, count)
        return {"jobs/s": rate} | spent | {"peak MB": memory} | rest

    def fill(self, count: int) -> None:
        """Have so many jobs wait, for drains without `fill`."""
        self.queue.pause()
        pending = self.database.sql("SELECT count(*) FROM jobq_job WHERE status = 'pending'")
        self.queue.enqueue_many(("noop", PAYLOAD) for _ in range(count - pending[0][0]))

    def _completed(self, type: str) -> int:
        return int(self.database.sql(f"SELECT count(*) {COMPLETED.format(type=type)}")[0][0])

    def _until_done(self, type: str, count: int | None) -> None:
        if count is not None:
            done = f"(SELECT 1 {COMPLETED.format(type=type)} LIMIT {count})"
            self.database.until(f"SELECT count(*) >= {count} FROM {done} AS done")
            return
        ready = "ready" if self.is_postgres else "ready = 1"
        self.database.until(UNDONE.format(ready=ready, type=type))

    def _rate(self, type: str, count: int) -> float:
        """Of the last `count` jobs that were completed."""
        seconds = SECONDS["postgresql" if self.is_postgres else "sqlite"]
        last = f"SELECT * {COMPLETED.format(type=type)} ORDER BY completed_at DESC LIMIT {count}"
        [(done, taken)] = self.database.sql(f"SELECT count(*), {seconds} FROM ({last}) AS last")
        assert done == count, f"{done} of {count} jobs completed"
        return float(done / taken)

    def _reopen(self) -> None:
        """End the sessions of the enqueuer: PostgreSQL counts what they did when they end."""
        self.queue.close()
        self.queue = jobq.Queue(self.url, router=router)

    # --- workers -------------------------------------------------------------------------------

    @contextmanager
    def worker(self, *options: str, **environment: str) -> Iterator[Process]:
        """`jobq worker` as the command line has it, ended with the block."""
        command = [sys.executable, "-m", "jobq", "worker", "benchmarks.app:queue", *options]
        ours = {"BENCH_URL": self.url, "JOBQ_LOG_LEVEL": "ERROR"}
        env = {**_environment(), **ours, **environment}
        with subprocess.Popen(command, cwd=ROOT, env=env) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.wait(timeout=30)

    def until_at_work(self, processes: int) -> None:
        self.database.until(f"SELECT count(*) = {processes} FROM jobq_worker", timeout=120)
        time.sleep(0.5)  # their first look, and what starting took

    # --- pickup --------------------------------------------------------------------------------

    def pickups(self, count: int) -> list[float]:
        """Milliseconds from `enqueue` returning to the handler's first line, each."""
        with self.worker():
            self.queue.wait(self.queue.enqueue("pickup", {}).id, timeout=60)
            return [self._pickup(n) for n in range(count)]

    def _pickup(self, n: int) -> float:
        time.sleep(0.05 + 0.01 * (n % 7))
        job = self.queue.enqueue("pickup", {})
        returned = time.time()
        entered: float = self.queue.wait(job.id, timeout=10).result
        return (entered - returned) * 1000


def pickups_in_process(url: str, count: int) -> list[float]:
    """The same within one process: enqueue and worker on one event loop."""

    async def run() -> list[float]:
        times = []
        async with jobq.AsyncQueue(url, router=router) as queue, jobq.Worker(queue).running():
            await queue.wait((await queue.enqueue("pickup", {})).id, timeout=10)
            for _ in range(count):
                await asyncio.sleep(0.05)
                job = await queue.enqueue("pickup", {})
                returned = time.time()
                done = await queue.wait(job.id, timeout=10)
                times.append((done.result - returned) * 1000)
        return times

    return asyncio.run(run())


def _tallied(folder: str, count: int) -> float:
    """From the first handler's begin to the last one's end, by the handlers' own clock."""
    began, ended = (
        float((Path(folder) / name).read_text().split()[0]) for name in ("began", "ended")
    )
    return count / (ended - began)
