"""Limits: the rate that is used, what it costs, and claims beside a closed key."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.app import EXPECTED, PROVIDER, TALLY
from benchmarks.bench import Bench, row
from benchmarks.contest import Contest, Reach, Sample
from benchmarks.subject import Subject
from jobq._worker.lanes import Lanes
from jobq.backends import ops
from tests.limits import windows

SLOTS = 10
LIMITED = (
    "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements "
    "WHERE query LIKE '%jobq_limit%' OR query LIKE '%jobq_lane%'"
)
UNLIMITED, KEYED = "claim without limits", "claim with 1,000 keys, one blocked"


@row("limited", stores=("postgresql",))
def limited(bench: Bench, store: str) -> Iterator[Contest]:
    """A queue limited to 100/s and eight worker processes, at a ledger that jobq doesn't know."""
    seconds = bench.size(75.0, 4.0)
    processes = bench.size(8, 2)
    with bench.counting() as database:
        subject = Subject(database)
        yield Contest(
            title=f"{store}: limited to {PROVIDER.effective_rate:.2f}/s, {processes} processes",
            runs={"jobq": lambda: _used(subject, processes, seconds)},
            reaches=[
                Reach("of the effective rate", least=0.98),
                Reach("claims' statements a start", most=1.1),
                Reach("refused by the ledger", most=0.0),
            ],
            trials=1,
        )
        subject.close()


def _used(subject: Subject, processes: int, seconds: float) -> Sample:
    subject.clear()
    jobs = round(1.5 * (seconds + 5) * PROVIDER.effective_rate)
    subject.queue.enqueue_many(("limited", {"n": n}) for n in range(jobs))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        noting = {TALLY: folder, EXPECTED: "0"}
        for _ in range(processes):
            stack.enter_context(subject.worker(**noting))
        subject.until_at_work(processes)
        time.sleep(2.0)
        before = subject.database.sql(LIMITED)[0][0]
        began = time.time()
        time.sleep(seconds)
        ended = time.time()
        statements = subject.database.sql(LIMITED)[0][0] - before
        lines = (Path(folder) / "began").read_text().splitlines()
    entered = [float(line.split()[0]) for line in lines]
    counted = [at for at in entered if began <= at < ended]
    units = [(round(at * windows.NANOSECONDS), 1) for at in entered]
    return {
        "of the effective rate": len(counted) / (ended - began) / PROVIDER.effective_rate,
        "claims' statements a start": statements / len(counted),
        "refused by the ledger": float(max(0, windows.fullest(units, PROVIDER.per) - PROVIDER.n)),
    }


@row("blocked")
def blocked(bench: Bench, store: str) -> Iterator[Contest]:
    """A claim of ten among a thousand keys, one of them deep and closed, against a plain one."""
    depth = bench.size(100_000, 5_000)
    keys = bench.size(1_000, 100)
    claims = bench.size(50, 10)
    with ExitStack() as stack:
        plain, full = (stack.enter_context(bench.database(store)) for _ in range(2))
        unlimited, keyed = Subject(plain), Subject(full)
        stack.callback(unlimited.close)
        stack.callback(keyed.close)
        _fill(keyed, keys, depth)
        yield Contest(
            title=f"{store}: claims of {SLOTS} beside {depth:,} jobs of a blocked key",
            runs={
                UNLIMITED: lambda: _claims(unlimited, claims, _plain_claim, "noop", keys),
                KEYED: lambda: _claims(keyed, claims, _keyed_claim, "keyed", keys),
            },
            floor=UNLIMITED,
            reaches=[Reach("ms a claim", most=2.0, of=KEYED, to=UNLIMITED)],
        )


def _fill(subject: Subject, keys: int, depth: int) -> None:
    many = {"owner": "blocked"}
    subject.queue.enqueue_many(("keyed", {}, many) for _ in range(depth))
    names = ["tenant:blocked", *(f"tenant:{n}" for n in range(keys - 1))]
    _run(subject, ops.ensure_limits, names)
    subject.queue.pause_limit("tenant:blocked")


def _claims(
    subject: Subject, count: int, claim: Callable[[Subject, Any], Any], type: str, keys: int
) -> Sample:
    """The middle one of so many claims, each with ready jobs to take; they are not run."""
    owners = (str(n % (keys - 1)) for n in range(2 * count * SLOTS))
    items: Iterator[Any] = ((type, {}, {"owner": owner}) for owner in owners)
    subject.queue.enqueue_many(items)
    subject.database.settle()
    lanes = Lanes(subject.queue._config, None)  # noqa: SLF001  what a worker remembers
    lanes.saw(_run(subject, ops.ready))
    times = []
    for _ in range(count):
        began = time.perf_counter()
        claim(subject, lanes)
        times.append((time.perf_counter() - began) * 1000)
    return {"ms a claim": windows.quantile(times, 0.5), "p99 ms": windows.quantile(times, 0.99)}


def _run(subject: Subject, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run one of jobq's units of work, as a worker does."""
    return subject.queue._store().run(op, *args, **kwargs)  # noqa: SLF001  below the surface


ASKER = {"worker": "w", "lease": 30_000_000, "margin": 10_000_000}
WORKER = {"slots": SLOTS, **ASKER}


def _plain_claim(subject: Subject, lanes: Lanes) -> None:
    claimed = _run(subject, ops.claim, queues=["default"], types=["noop"], **WORKER)
    assert len(claimed) == SLOTS


def _keyed_claim(subject: Subject, lanes: Lanes) -> None:
    rivals: Any = ([], [])
    request = lanes.request(slots=SLOTS, ahead=SLOTS // 2, rivals=rivals, yields=False, **ASKER)
    grant = _run(subject, ops.claim_limited, request)
    lanes.heard(request, grant)
    assert len(grant.jobs) == SLOTS, grant
