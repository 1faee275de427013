"""Run the benchmarks, print one table, and exit non-zero where a bound is missed.

    python -m benchmarks [--quick] [--trials 5] [ROW …] [sqlite] [postgresql]

The contestants of a row take turns within a trial, so that a noisy machine disturbs them all; a
ratio is the median of the trials' own ratios.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg

from benchmarks import rows as _rows  # noqa: F401  they register themselves
from benchmarks import table
from benchmarks.bench import ROWS, STORES, Bench, Row
from benchmarks.contest import Contest, Result, play
from benchmarks.machine import fsync_cost, setting
from benchmarks.subject import Subject


def results(bench: Bench, rows: Sequence[Row], trials: int) -> Iterator[Result]:
    """Play row after row; one that cannot be played is a result that says why."""
    for row in rows:
        for store in [name for name in row.stores if not name or name in bench.stores]:
            try:
                for contest in row.play(bench, store):
                    yield play(row.name, contest, trials)
            except Exception as error:  # noqa: BLE001  one row stops no other
                contest = Contest(title=f"{store}: {row.name}", runs={"jobq": dict})
                failed = f"{type(error).__name__}: {error}"
                yield Result(row.name, contest, {"jobq": []}, {"jobq": failed})


def _warm_up(bench: Bench) -> None:
    """Have all that a worker imports compiled: the first one would take time and memory for it."""
    for store in bench.stores:
        with bench.database(store) as database:
            subject = Subject(database)
            subject.drained(10)
            subject.close()


def server_version(bench: Bench) -> str | None:
    if "postgresql" not in bench.stores:
        return None
    with psycopg.connect(bench.server.superuser_url) as session:
        row = session.execute("SHOW server_version").fetchone()
    return f"PostgreSQL {row[0] if row else '?'}"


def main() -> int:
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no process behind
    unknown = set(options.words) - {*ROWS, *STORES}
    if unknown:
        raise SystemExit(f"no row or database {sorted(unknown)}; there are {[*ROWS, *STORES]}")
    chosen = [row for name, row in ROWS.items() if name in options.words]
    stores = tuple(name for name in STORES if name in options.words) or STORES
    trials = options.trials or (2 if options.quick else 5)
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = Path(temporary)
        environments = (options.environments or folder / "environments").absolute()
        with Bench(folder, environments, stores, options.quick) as bench:
            size = f"{'quick' if options.quick else 'full'} ({trials} trials)"
            true_of = setting(server_version(bench), fsync_cost(folder), size)
            print(true_of, flush=True)
            _warm_up(bench)
            found = []
            for result in results(bench, chosen or list(ROWS.values()), trials):
                print(table.told(result), flush=True)
                found.append(result)
    whole = not chosen and stores == STORES
    for path in options.write:
        table.write(path, found, true_of, whole=whole)
    return _verdict(found)


def _verdict(found: Sequence[Result]) -> int:
    """Print what was missed; the exit code."""
    bounds = sum(len(result.verdicts) for result in found)
    missed = [f"{result.contest.title}: {text}" for result in found for text in result.missed]
    missed += [
        f"{result.contest.title}: {name} failed: {reason}"
        for result in found
        for name, reason in result.failures.items()
        if name.startswith("jobq")
    ]
    print(f"\n{len(missed)} missed, of {bounds} bounds")
    print("\n".join(f"  {line}" for line in missed))
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {row.name:16}{row.about}" for row in ROWS.values())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Rows:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="NAME", help="rows and databases; all by default")
    add("--trials", type=int, help="how often each contest is played (default 5)")
    add("--quick", action="store_true", help="a few jobs and two trials: does everything run?")
    add("--environments", type=Path, help="a folder to install the peers in")
    add("--write", type=Path, action="append", default=[], help="a page to fill the sections of")
    return parser


if __name__ == "__main__":
    sys.exit(main())
