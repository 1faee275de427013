"""Play the scenarios and print what they found: `python -m tests.faults quick kill F6`.

Words: `quick` for the short run; `sqlite` or `postgresql` for one database only; scenarios by their
names or by the codes of their faults, as F6. `--write FILE` puts their lines into the table of a
Markdown file, between its two marks. The exit code is 1 where a promise was broken, or a fault hit
too seldom to tell.
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
from tests.faults.lab import SCENARIOS, Lab, Scenario, Size, perform
from tests.faults.report import Result, database_version, table, write

DATABASES = ("sqlite", "postgresql")


@frozen
class Plan:
    """What a command line asks for."""

    size: Size
    databases: tuple[str, ...]
    names: tuple[str, ...]
    report: Path | None = None

    @classmethod
    def parse(cls, words: Sequence[str]) -> Plan:
        size: Size = "quick" if "quick" in words else "full"
        left, report = _report(words)
        asked = {
            name
            for name, scenario in SCENARIOS.items()
            if not {name, *scenario.codes}.isdisjoint(left)
        }
        codes = {code for scenario in SCENARIOS.values() for code in scenario.codes}
        known = {"quick", "full", *DATABASES, *SCENARIOS, *codes}
        if unknown := [word for word in left if word not in known]:
            sys.exit(f"unknown: {', '.join(unknown)}\nknown: {', '.join(sorted(known))}")
        usual = [name for name, one in SCENARIOS.items() if size == "full" or one.in_quick]
        return cls(
            size=size,
            databases=tuple(name for name in DATABASES if name in left) or DATABASES,
            names=tuple(name for name in SCENARIOS if name in asked) or tuple(usual),
            report=report,
        )

    def rounds(self) -> Iterator[tuple[Scenario, str]]:
        for name in self.names:
            for database in SCENARIOS[name].databases:
                if database in self.databases:
                    yield SCENARIOS[name], database


def _report(words: Sequence[str]) -> tuple[list[str], Path | None]:
    """The words without `--write FILE`, and that file."""
    left = list(words)
    if "--write" not in left:
        return left, None
    at = left.index("--write")
    if at + 1 == len(left):
        sys.exit("--write needs the name of a file")
    file = Path(left[at + 1])
    return left[:at] + left[at + 2 :], file


def play(plan: Plan) -> list[Result]:
    """Play all rounds, one after the other, with one durable PostgreSQL for all."""
    results = []
    with ExitStack() as stack:
        server = None
        if any(database == "postgresql" for _, database in plan.rounds()):
            server = stack.enter_context(PostgresServer.start(durable=True, max_connections=300))
        for scenario, database in plan.rounds():
            codes = " ".join(("", *scenario.codes))
            print(f"\n{scenario.name}{codes} on {database}: {scenario.promise}", flush=True)
            result = play_one(scenario, database, plan.size, server)
            results.append(result)
            if plan.report is not None:
                write(plan.report, [result], plan.size)
            if result.findings.not_run:
                print(f"  not run: {result.findings.not_run}", flush=True)
            for check in result.findings.checks:
                if not check.holds:
                    print(f"  {check}", flush=True)
    return results


def play_one(
    scenario: Scenario, database: str, size: Size, server: PostgresServer | None
) -> Result:
    """Play a scenario on a new database; its folder stays where a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix=f"jobq-faults-{scenario.name}-"))
    folder.chmod(0o755)  # a server may run as another user
    url = f"sqlite:///{folder / 'jobs.db'}"
    if database == "postgresql":
        assert server is not None
        url = server.create_database(scenario.name)
    version = database_version(url)
    began = time.monotonic()
    findings = perform(scenario, Lab(url, folder, size, server))
    seconds = time.monotonic() - began
    if findings.misses:
        print(f"  histories and logs are in {folder}", flush=True)
    else:
        shutil.rmtree(folder)
    return Result(scenario, database, findings, seconds, version)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no process behind
    plan = Plan.parse(sys.argv[1:])
    results = play(plan)
    print(f"\n{table(results)}")
    missed = [result for result in results if result.findings.misses]
    for result in missed:
        for check in result.findings.misses:
            print(f"{result.scenario.name} on {result.database}: {check}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
