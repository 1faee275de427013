"""What a run found, as text for a terminal and as a table for the documentation."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg
from attrs import field, frozen

from tests.faults.lab import SCENARIOS, Findings, Scenario, Size
from tests.pages import between, lines
from tests.pages import rows as rows_of

BEGIN = "<!-- results: what `nox -s faults` wrote, not to be edited -->"
END = "<!-- results: end -->"
HEAD = ("scenario", "database", "trials", "hits", "checked", "broken", "seconds", "figures")
COLUMNS = (
    "fault",
    "promise",
    "database",
    "trials",
    "hits",
    "checked",
    "broken",
    "figures",
    "day",
)


@frozen
class Result:
    """One line of the table."""

    scenario: Scenario
    database: str
    findings: Findings
    seconds: float
    version: str = field(default="")
    """The version of the database."""

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """Trials, hits, how often something was checked, and how often it was broken."""
        found = self.findings
        checked = sum(check.of for check in found.checks)
        broken = sum(len(check.broken) for check in found.checks)
        return found.trials, found.hits, checked, broken

    @property
    def figures(self) -> str:
        if self.findings.not_run:
            return f"not run: {self.findings.not_run}"
        return ", ".join(f"{name} {value}" for name, value in self.findings.figures.items())


def table(results: Sequence[Result]) -> str:
    """The results as text, a line each."""
    lines: list[tuple[str, ...]] = [HEAD]
    for result in results:
        numbers = map(str, (*result.numbers, round(result.seconds)))
        lines.append((result.scenario.name, result.database, *numbers, result.figures))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def write(path: Path, results: Sequence[Result], size: Size) -> None:
    """Put the results between the marks of a Markdown file; it is made where it is missing.

    What is there of other scenarios stays: each line says of which day it is.
    """
    text = path.read_text() if path.exists() else f"{BEGIN}\n{END}\n"
    path.write_text(between(text, BEGIN, END, markdown(results, size, text), path))


def markdown(results: Sequence[Result], size: Size, before: str = "") -> str:
    """The results with the versions that they are true of, and others `before` them."""
    found = {(_fault(one.scenario), one.database): _row(one, size) for one in results}
    earlier = rows_of(before.partition(BEGIN)[2].partition(END)[0])
    kept = {(cells[0], cells[2].partition(" ")[0].lower()): cells for cells in earlier}
    places = [(_fault(one), where) for one in SCENARIOS.values() for where in one.databases]
    known = {**kept, **found}
    rows = [known[place] for place in places if place in known]
    marks = ("---", "---", "---", "--:", "--:", "--:", "--:", "---", "---")
    return f"{_versions()}\n\n{lines([COLUMNS, marks, *rows])}"


def _row(result: Result, size: Size) -> tuple[str, ...]:
    numbers = [""] * 4 if result.findings.not_run else [*map(str, result.numbers)]
    day = f"{datetime.now(UTC).date()}{'' if size == 'full' else f', {size}'}"
    scenario = result.scenario
    return (_fault(scenario), scenario.promise, result.version, *numbers, result.figures, day)


def _fault(scenario: Scenario) -> str:
    return " ".join((*scenario.codes, f"`{scenario.name}`"))


def _versions() -> str:
    parts = [
        f"jobq {version('jobq')}",
        f"Python {platform.python_version()}",
        f"psycopg {psycopg.__version__}",
        f"{platform.system()} on {os.cpu_count()} CPUs",
    ]
    return f"With {', '.join(parts)}."


def database_version(url: str) -> str:
    """The name and version of a database."""
    if url.startswith("sqlite"):
        return f"SQLite {sqlite3.sqlite_version}"
    with psycopg.connect(url) as connection:
        rows = connection.execute("SHOW server_version").fetchone()
    return f"PostgreSQL {rows[0] if rows else '?'}"
