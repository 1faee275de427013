"""Play the scenarios and print what they found: `python -m tests.faults quick kill zombie`.

Words: `quick` for the short run; `sqlite` or `postgresql` for one database only; scenarios' names.
The exit code is 1 where a promise was broken, or a fault hit too seldom to tell.
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

from attrs import frozen

import tests.faults.scenarios  # noqa: F401  fills SCENARIOS
from jobq.testing._postgres import PostgresServer
from tests.faults.lab import SCENARIOS, Findings, Lab, Scenario, Size, perform

DATABASES = ("sqlite", "postgresql")


@frozen
class Plan:
    """What a command line asks for."""

    size: Size
    databases: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def parse(cls, words: Sequence[str]) -> Plan:
        known = {"quick", "full", *DATABASES, *SCENARIOS}
        if unknown := [word for word in words if word not in known]:
            sys.exit(f"unknown: {', '.join(unknown)}\nknown: {', '.join(sorted(known))}")
        return cls(
            size="quick" if "quick" in words else "full",
            databases=tuple(name for name in DATABASES if name in words) or DATABASES,
            names=tuple(name for name in SCENARIOS if name in words) or tuple(SCENARIOS),
        )

    def rounds(self) -> Iterator[tuple[Scenario, str]]:
        for name in self.names:
            for database in SCENARIOS[name].databases:
                if database in self.databases:
                    yield SCENARIOS[name], database


@frozen
class Result:
    """One line of the table."""

    scenario: Scenario
    database: str
    findings: Findings
    seconds: float


def play(plan: Plan) -> list[Result]:
    """Play all rounds, one after the other, with one durable PostgreSQL for all."""
    results = []
    with ExitStack() as stack:
        server = None
        if any(database == "postgresql" for _, database in plan.rounds()):
            server = stack.enter_context(PostgresServer.start(durable=True, max_connections=300))
        for scenario, database in plan.rounds():
            print(f"\n{scenario.name} on {database}: {scenario.promise}", flush=True)
            result = play_one(scenario, database, plan.size, server)
            results.append(result)
            for check in result.findings.checks:
                if not check.holds:
                    print(f"  {check}", flush=True)
    return results


def play_one(
    scenario: Scenario, database: str, size: Size, server: PostgresServer | None
) -> Result:
    """Play a scenario on a new database; its folder stays where a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix=f"jobq-faults-{scenario.name}-"))
    url = f"sqlite:///{folder / 'jobs.db'}"
    if database == "postgresql":
        assert server is not None
        url = server.create_database(scenario.name)
    began = time.monotonic()
    findings = perform(scenario, Lab(url, folder, size, server))
    seconds = time.monotonic() - began
    if findings.misses:
        print(f"  histories and logs are in {folder}", flush=True)
    else:
        shutil.rmtree(folder)
    return Result(scenario, database, findings, seconds)


def table(results: Sequence[Result]) -> str:
    """The results as text, a line each."""
    head = ("scenario", "database", "trials", "hits", "checked", "broken", "seconds", "figures")
    lines = [head]
    for result in results:
        found = result.findings
        figures = ", ".join(f"{name} {value}" for name, value in found.figures.items())
        checked = sum(check.of for check in found.checks)
        broken = sum(len(check.broken) for check in found.checks)
        numbers = (found.trials, found.hits, checked, broken, round(result.seconds))
        lines.append((result.scenario.name, result.database, *map(str, numbers), figures))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no process behind
    results = play(Plan.parse(sys.argv[1:]))
    print(f"\n{table(results)}")
    missed = [result for result in results if result.findings.misses]
    for result in missed:
        for check in result.findings.misses:
            print(f"{result.scenario.name} on {result.database}: {check}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
