"""How the cost grows: with the jobs that wait, and with their payloads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.bench import Bench, row
from benchmarks.contest import Contest, Run, Sample
from benchmarks.rows.contestants import contestants
from benchmarks.subject import Subject

TIMED = 5_000


@row("growth-pending")
def pending(bench: Bench, store: str) -> Iterator[Contest]:
    """The first jobs of a longer and longer queue drained by one worker process."""
    sizes = bench.size((1_000, 10_000, 100_000, 1_000_000), (1_000, 10_000))
    trials = bench.size(3, 1)

    with ExitStack() as stack:

        def contestant(size: int) -> Run:
            subject = Subject(stack.enter_context(bench.database(store)))
            stack.callback(subject.close)
            timed = min(bench.size(TIMED, 500), size // trials)

            def drained() -> Sample:
                subject.fill(size)  # a worker has gone on until it was stopped
                return subject.drained(timed, clear=False, fill=False)

            return drained

        runs = {_pending(size): contestant(size) for size in sizes}
        yield Contest(
            title=f"{store}: the first of many pending no-ops, one worker process",
            runs=runs,
            floor=_pending(sizes[1]),
            trials=trials,
        )


def _pending(size: int) -> str:
    return f"{size:,} pending"


@row("growth-payload")
def payload(bench: Bench, store: str) -> Iterator[Contest]:
    """Larger and larger payloads enqueued at once and drained by one worker process."""
    count = bench.size(2_000, 200)
    sizes = bench.size((100, 1_000, 10_000, 64_000, 256_000), (100, 10_000))
    with contestants(bench, store, peers=False) as found:
        runs: dict[str, Run] = {}
        for size in sizes:
            content = {"text": "x" * size}
            runs[f"jobq, {size:,} bytes"] = _drained(found.jobq, count, content)
            runs[f"raw loop, {size:,} bytes"] = _drained(found.floor, count, content)
        yield Contest(
            title=f"{store}: {count:,} jobs by the size of their payloads, one worker process",
            runs=runs,
            floor=f"jobq, {sizes[0]:,} bytes",
            trials=bench.size(3, 1),
        )


def _drained(one: object, count: int, content: dict[str, str]) -> Run:
    drain = getattr(one, "drained", None) or one.drain  # type: ignore[attr-defined]
    return lambda: drain(count, payload=content)
