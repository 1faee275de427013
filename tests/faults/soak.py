"""Jobs and faults for an hour, and what they leave behind: `python -m tests.faults.soak sqlite`.

Words: `sqlite` or `postgresql`; `--minutes 60`, `--rate 200` (jobs a second), `--csv FILE` for a
line each minute. Workers are killed and frozen past their lease at random; PostgreSQL is stopped
and its sessions are terminated. Then the faults stop, all jobs must end, and nothing may be lost.
Memory, descriptors, connections, write-ahead log and tables must be what they were in the first
minutes. The exit code is 1 where that is not so.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psycopg
from attrs import asdict, field, fields, frozen

from jobq.testing._postgres import PostgresServer
from tests.faults import checker
from tests.faults.actors import Actor
from tests.faults.checker import Check
from tests.faults.lab import Lab
from tests.faults.scenarios.restarts import unreachable

WORKERS = 4
LEASE = 5.0
KEEP = 60.0
BATCH = 0.1
"""Seconds between two batches of new jobs."""
WARM_UP = 3
"""Minutes before the tables have the size that they keep."""
MIB = 1024 * 1024
PAGES_IN_USE = """
    SELECT sum(pg_total_relation_size(oid)) - 8192 * (
        SELECT sum((pgstatindex(indexrelid)).deleted_pages) FROM pg_index
        WHERE indrelid::regclass::text LIKE 'jobq%'
    )
    FROM pg_class WHERE relname LIKE 'jobq%' AND relkind = 'r'
"""
"""Bytes of tables and indexes, without index pages that vacuum has freed.

PostgreSQL forgets where free index pages are when it crashes, as it does here every minute, and
takes new ones until the next vacuum has found them again.
"""


@frozen(kw_only=True)
class Minute:
    """What one minute saw."""

    database: str
    minute: int
    enqueued: int
    ended: int
    waiting: int
    kills: int
    freezes: int
    restarts: int
    terminated: int
    worker_mib: float = field(metadata={"bound": 1.3})
    """Memory of the largest worker."""
    descriptors: int = field(metadata={"bound": 1.3})
    """Those of the worker that has most."""
    connections: int = field(metadata={"bound": 1.5})
    log_mib: float = field(metadata={"bound": 2.0})
    """SQLite's write-ahead log; PostgreSQL's folder of it."""
    tables_mib: float = field(metadata={"bound": 1.5})


class Soak:
    """One database under jobs and faults."""

    def __init__(self, lab: Lab, database: str, rate: float) -> None:
        self._lab = lab
        self._database = database
        self._rate = rate
        self._workers: list[Actor] = []
        self._counts = dict.fromkeys(("kills", "freezes", "restarts", "terminated"), 0)
        self._frozen: list[tuple[float, Actor]] = []
        self._seen = (0, 0)
        self.minutes: list[Minute] = []

    def run(self, minutes: int, writer: csv.DictWriter[str] | None) -> list[Check]:
        """Play for so long, then let everything come to its end."""
        self._workers = [self._worker(number) for number in range(WORKERS)]
        self._lab.await_ready(self._workers)
        options = {"seconds": 0.05, "gap": 2 * BATCH, "keep": KEEP}
        enqueuer = self._lab.actor("enqueuer", batch=round(self._rate * BATCH), **options)
        began = time.monotonic()
        while len(self.minutes) < minutes:
            self._hurt()
            if time.monotonic() - began > 60 * (len(self.minutes) + 1):
                self._note(writer)
        self._thaw(until=float("inf"))
        ended = [self._lab.stop([enqueuer])]
        self._lab.until_finished(timeout=120)
        ended.append(self._lab.stop(self._workers))
        return [*ended, *self._lost(), *self._bounded()]

    def _worker(self, number: int) -> Actor:
        return self._lab.worker(f"worker-{number}", lease=LEASE, concurrency=16)

    # --- faults ------------------------------------------------------------------------------

    def _hurt(self) -> None:
        """Wait a little, then do one thing, as the dice say."""
        time.sleep(self._lab.random.uniform(0.5, 2.0))
        self._thaw(until=time.monotonic())
        dice = self._lab.random.random()
        if dice < 0.06:
            self._kill()
        elif dice < 0.09:
            self._freeze()
        elif self._lab.is_postgres and dice < 0.11:
            self._restart()
        elif self._lab.is_postgres and dice < 0.25:
            self._terminate()

    def _kill(self) -> None:
        number = self._lab.random.randrange(WORKERS)
        if self._workers[number] in (actor for _, actor in self._frozen):
            return
        self._workers[number].kill()
        self._lab.history.note("killed", worker=self._workers[number].name, wall=time.time())
        self._workers[number] = self._worker(number)
        self._counts["kills"] += 1

    def _freeze(self) -> None:
        actor = self._lab.random.choice(self._workers)
        if self._frozen:
            return
        actor.freeze()
        if self._lab.is_locked():
            actor.thaw()  # who sleeps with SQLite's lock stops everybody, as is documented
            return
        self._frozen.append((time.monotonic() + 2 * LEASE, actor))
        self._counts["freezes"] += 1

    def _thaw(self, until: float) -> None:
        for at, actor in self._frozen[:]:
            if at <= until:
                actor.thaw()
                self._frozen.remove((at, actor))

    def _restart(self) -> None:
        with unreachable(self._lab):
            time.sleep(self._lab.random.uniform(0.0, 2.0))
        self._counts["restarts"] += 1

    def _terminate(self) -> None:
        killed = self._lab.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN (SELECT pid FROM "
            "pg_stat_activity WHERE application_name LIKE 'jobq%' ORDER BY random() LIMIT 2)"
        )
        self._counts["terminated"] += len(killed)

    # --- what is left behind -----------------------------------------------------------------

    def _note(self, writer: csv.DictWriter[str] | None) -> None:
        """Add a line for the minute that has ended."""
        self._lab.histories.refresh()
        enqueued = sum(len(event["ids"]) for event in self._lab.histories.of("enqueued"))
        ended = len(self._lab.histories.of("end"))
        [(waiting,)] = self._lab.sql("SELECT count(*) FROM jobq_job WHERE completed_at IS NULL")
        pids = [worker.process.pid for worker in self._workers if worker.alive]
        line = Minute(
            database=self._database,
            minute=len(self.minutes) + 1,
            enqueued=enqueued - self._seen[0],
            ended=ended - self._seen[1],
            waiting=waiting,
            **self._counts,
            worker_mib=round(max(map(_memory, pids)) / MIB, 1),
            descriptors=max(map(_descriptors, pids)),
            connections=self._connections(pids),
            log_mib=round(self._log() / MIB, 1),
            tables_mib=round(self._tables() / MIB, 1),
        )
        self._seen = (enqueued, ended)
        self._counts = dict.fromkeys(self._counts, 0)
        self.minutes.append(line)
        print(" ".join(f"{name}={value}" for name, value in asdict(line).items()), flush=True)
        if writer is not None:
            writer.writerow(asdict(line))

    def _path(self) -> Path:
        return Path(self._lab.url.removeprefix("sqlite:///"))

    def _log(self) -> float:
        if not self._lab.is_postgres:
            return Path(f"{self._path()}-wal").stat().st_size
        [(size,)] = self._lab.sql("SELECT sum(size) FROM pg_ls_waldir()")
        return float(size)

    def _tables(self) -> float:
        if not self._lab.is_postgres:
            return self._path().stat().st_size
        return float(self._lab.sql(PAGES_IN_USE)[0][0])

    def _connections(self, pids: Sequence[int]) -> int:
        if self._lab.is_postgres:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'jobq%'"
            return int(self._lab.sql(sql)[0][0])
        path = str(self._path().resolve())
        return sum(link == path for pid in pids for link in _links(pid))

    # --- judging -----------------------------------------------------------------------------

    def _lost(self) -> list[Check]:
        """Jobs that ended well are pruned after a while, so the histories are asked."""
        events, tables = self._lab.histories.refresh(), checker.dump(self._lab.url)
        ended = {event["job"] for event in events if event.event == "end"}
        acknowledged = self._lab.acknowledged()
        failed = {job.id for job in tables.having("failed")}
        lost = [id for id in acknowledged if id not in ended and id not in failed]
        killed = {event["worker"] for event in self._lab.histories.of("killed")}
        ids = {e["worker"] for e in self._lab.histories.of("ready") if e.actor in killed}
        return [
            Check("an acknowledged job has ended", len(acknowledged), lost),
            checker.none_stuck(tables),
            checker.failures_are_kills(tables, ids),
        ]

    def _bounded(self) -> list[Check]:
        """The last minutes are as the first were, after some to warm up."""
        settled = self.minutes[WARM_UP:]
        some = max(1, len(settled) // 4)
        checks = []
        for attribute in fields(Minute):
            bound = attribute.metadata.get("bound")
            if bound is None or len(settled) < 2:
                continue
            first = statistics.median(getattr(m, attribute.name) for m in settled[:some])
            last = statistics.median(getattr(m, attribute.name) for m in settled[-some:])
            grown = [] if last <= bound * max(first, 1) else [f"{first} became {last}"]
            checks.append(Check(f"{attribute.name} is back to the baseline", some, grown))
        return checks


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _links(pid: int) -> list[str]:
    return [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("database", choices=("sqlite", "postgresql"))
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        server, url = None, f"sqlite:///{folder / 'jobs.db'}"
        if options.database == "postgresql":
            server = stack.enter_context(PostgresServer.start(durable=True, max_connections=100))
            url = server.create_database("soak")
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE EXTENSION pgstattuple")
        lab = stack.enter_context(Lab(url, folder, "full", server))
        writer = None
        if options.csv is not None:
            new = not options.csv.exists()
            file = stack.enter_context(options.csv.open("a", newline="", buffering=1))
            writer = csv.DictWriter(file, [attribute.name for attribute in fields(Minute)])
            if new:
                writer.writeheader()
        checks = Soak(lab, options.database, options.rate).run(options.minutes, writer)
    for check in checks:
        print(check)
    return 0 if all(check.holds for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
