"""What limits cost those who have none, or whose limits are open."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg

import jobq
from jobq.backends import ops
from jobq.backends._statement import Call, drive
from tests.faults.actors import ROOT, _environment
from tests.limits.lab import Figure, Lab, Sizes, measure, told

SLOTS = 10


class Cost:
    """What ops cost: pages on PostgreSQL, steps of its virtual machine on SQLite."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._dialect = lab.queue._store().dialect

    def of(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[int, Any]:
        """What an op costs, and its answer; nothing of it stays."""
        made = op(self._dialect, *args, **kwargs)
        return self._on_postgres(made) if self._lab.is_postgres else self._on_sqlite(made)

    def _on_postgres(self, made: Any) -> tuple[int, Any]:
        pages = 0
        with psycopg.connect(self._lab.url) as connection:

            def execute(call: Call) -> list[Any]:
                nonlocal pages
                explain = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {call.sql}"
                with connection.transaction(force_rollback=True):
                    cursor = connection.execute(explain, call.params, prepare=False)  # type: ignore[call-overload]
                    top = cursor.fetchall()[0][0][0]["Plan"]
                pages += top["Shared Hit Blocks"] + top["Shared Read Blocks"]
                cursor = connection.execute(call.sql, call.params)  # type: ignore[call-overload]
                return cursor.fetchall() if cursor.description else []

            answer = drive(made, execute)
            connection.rollback()
        return pages, answer

    def _on_sqlite(self, made: Any) -> tuple[int, Any]:
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        path = self._lab.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.set_progress_handler(step, 1)
            answer = drive(made, lambda call: connection.execute(call.sql, call.params).fetchall())
            connection.set_progress_handler(None, 0)
            connection.execute("ROLLBACK")
        return steps, answer


@measure("blocked")
def blocked(lab: Lab, _: Any) -> Iterator[Figure]:
    """100,000 blocked jobs of one tenant cost the claims of the others nothing."""
    count = lab.choose(full=100_000, quick=20_000, tiny=1_000)
    lab.use(
        {
            "call": [
                jobq.RateLimit("shared", 1_000, per=1),
                jobq.RateLimit("tenant:{owner}", 100, per=1),
            ]
        }
    )
    tenants = [f"t{n}" for n in range(20)]
    for tenant in tenants:
        lab.add("call", 20, owner=tenant)
    lab.add("call", 20, owner="blocked")
    lab.run_op(ops.ensure_limits, ["shared", *(f"tenant:{name}" for name in [*tenants, "blocked"])])
    lab.queue.pause_limit("tenant:blocked")
    cost = Cost(lab)
    before = _settled(lab, cost)
    lab.add("call", count, owner="blocked")
    after = _settled(lab, cost)
    unit = "pages" if lab.is_postgres else "steps"
    for what, base in before.items():
        yield told(f"{what}: {unit} without the blocked jobs", base)
        yield Figure(what=f"{what}: times that with {count:,}", value=after[what] / base, most=2.0)


def _settled(lab: Lab, cost: Cost) -> dict[str, int]:
    """The cost of each step of a claim, when the planner knows the tables as they are."""
    if lab.is_postgres:
        for table in ("jobq_job", "jobq_limit", "jobq_lane"):
            lab.sql(f"VACUUM (ANALYZE) {table}")
    else:
        lab.sql("ANALYZE")
    pages, ready = cost.of(ops.ready)
    request = ops.Request(
        lanes=ready.lanes,
        slots=SLOTS,
        ahead=SLOTS // 2,
        look_ahead=1_000_000,
        worker="w",
        lease=30_000_000,
        margin=10_000_000,
        keep=None,
        pools={},
        rivals=([], []),
    )
    claim, grant = cost.of(ops.claim_limited, request)
    assert len(grant.jobs) == SLOTS, grant
    return {"looking for lanes": pages, "claim": claim}


# --- unlimited jobs -----------------------------------------------------------------------------

BASELINE = os.environ.get("JOBQ_BASELINE", "3567147")
"""The last commit before limits."""
DRAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from benchmarks.subject import Subject
import jobq
assert jobq.__file__.startswith(sys.argv[1]), jobq.__file__
subject = Subject(sys.argv[2])
subject.clear()
print(subject.drain(int(sys.argv[3])))
"""


@measure("unlimited", over=Sizes(full=("",), quick=("",), tiny=()))
def unlimited(lab: Lab, _: Any) -> Iterator[Figure]:
    """Jobs without limits are drained as fast as before there were limits."""
    trials = lab.choose(full=21, quick=5, tiny=1)
    trees = {"before": _checked_out(BASELINE, lab.folder / "before"), "now": ROOT}
    rates: dict[str, list[float]] = {name: [] for name in trees}
    for trial in range(trials):
        for name in sorted(trees, reverse=bool(trial % 2)):
            rates[name].append(_drain(lab, trees[name], f"{name}_{trial}"))
    for name, found in rates.items():
        yield told(f"jobs a second, {name}", statistics.median(found), trials)
    ratios = [now / then for now, then in zip(rates["now"], rates["before"], strict=True)]
    yield Figure(
        what="ratio, median of the trials'",
        value=statistics.median(ratios),
        least=0.95,
        trials=trials,
        is_timing=True,
    )


def _checked_out(commit: str, folder: Path) -> Path:
    """The tree of a commit, next to ours."""
    archive = subprocess.run(
        ["git", "archive", commit, "jobq", "benchmarks"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def _drain(lab: Lab, tree: Path, name: str) -> float:
    """How many jobs a second that tree's worker gets done, on a database of its own."""
    url = f"sqlite:///{lab.folder / name}.db"
    if lab.is_postgres:
        assert lab.server is not None
        url = lab.server.create_database(f"{lab.folder.name}_{name}")
    time.sleep(0.5)  # let the last trial's writes settle
    command = [sys.executable, "-c", DRAIN, str(tree), url, "10000"]
    environment = {**_environment(), "PYTHONPATH": str(tree), "BENCH_URL": url}
    drained = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, check=True)
    return float(json.loads(drained.stdout))
