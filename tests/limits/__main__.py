"""Take the measurements and print a table: `python -m tests.limits quick bound storm`.

Words: `quick` for the short run; `sqlite` or `postgresql` for one database only; names of
measurements. The exit code is 1 where a bound was missed.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import frozen

import tests.limits.measures  # noqa: F401  fills MEASURES
from jobq.testing._postgres import PostgresServer
from tests.faults.lab import Size
from tests.limits.lab import MEASURES, Figure, Lab, Measure, perform

DATABASES = ("sqlite", "postgresql")
Line = tuple[str, ...]
HEAD: Line = ("measurement", "database", "figure", "value", "bound", "trials", "")


@frozen
class Plan:
    """What a command line asks for."""

    size: Size
    databases: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def parse(cls, words: Sequence[str]) -> Plan:
        known = {"quick", "full", *DATABASES, *MEASURES}
        if unknown := [word for word in words if word not in known]:
            sys.exit(f"unknown: {', '.join(unknown)}\nknown: {', '.join(sorted(known))}")
        return cls(
            size="quick" if "quick" in words else "full",
            databases=tuple(name for name in DATABASES if name in words) or DATABASES,
            names=tuple(name for name in MEASURES if name in words) or tuple(MEASURES),
        )

    def rounds(self) -> Iterator[tuple[Measure, str, Any]]:
        for name in self.names:
            for database in self.databases:
                for over in getattr(MEASURES[name].over, self.size):
                    yield MEASURES[name], database, over


def play(plan: Plan) -> list[tuple[Line, Figure]]:
    """Take all measurements, one after the other, with one durable PostgreSQL for all."""
    lines: list[tuple[Line, Figure]] = []
    with ExitStack() as stack:
        server = None
        if "postgresql" in plan.databases:
            server = stack.enter_context(PostgresServer.start(durable=True, max_connections=400))
        for measure, database, over in plan.rounds():
            name = f"{measure.name} {over}".strip()
            began = time.monotonic()
            print(f"\n{name} on {database}: {measure.promise}", flush=True)
            for figure in take(measure, database, over, plan.size, server):
                line = (name, database, *figure.row())
                print("  " + "  ".join(cell for cell in line[2:] if cell), flush=True)
                lines.append((line, figure))
            print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    return lines


def take(
    measure: Measure, database: str, over: Any, size: Size, server: PostgresServer | None
) -> Iterator[Figure]:
    """Measure on a new database; its folder stays where a bound was missed."""
    folder = Path(tempfile.mkdtemp(prefix=f"jobq-limits-{measure.name}-"))
    url = f"sqlite:///{folder / 'jobs.db'}"
    if database == "postgresql":
        assert server is not None
        url = server.create_database(folder.name)
    missed = False
    for figure in perform(measure, Lab(url, folder, size, server), over):
        missed = missed or not figure.holds
        yield figure
    if missed:
        print(f"  histories and logs are in {folder}", flush=True)
    else:
        shutil.rmtree(folder)


def table(lines: Sequence[Line]) -> str:
    """The figures as text, a line each."""
    rows = [HEAD, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no process behind
    lines = play(Plan.parse(sys.argv[1:]))
    print(f"\n{table([line for line, _ in lines])}")
    missed = [line for line, figure in lines if not figure.holds]
    print(f"\n{len(missed)} of {len(lines)} figures missed their bounds")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
