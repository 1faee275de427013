"""The results: as text while they come, and as sections of Markdown pages."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.contest import Result
from tests.pages import between, table
from tests.pages import rows as rows_of

END = "<!-- bench: end -->"
BEGIN = re.compile(r"<!-- bench: (?!end )([\w -]+) -->")
SUMMARY = "summary"
"""The section with all bounds. A run of some rows brings its own lines of it up to date."""
SUMMARY_COLUMNS = ("work", "who", "to be reached", "found", "reached", "day")


def number(value: float) -> str:
    """A figure with as many digits as mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def runs(values: Sequence[float]) -> str:
    return " ".join(map(number, values))


def told(result: Result) -> str:
    """A contest as lines of text."""
    contest = result.contest
    lines = [f"\n{contest.title}"]
    width = max(map(len, [*contest.runs, *contest.missing]), default=0)
    for name in contest.runs:
        lines.append(f"  {name:{width}}  {_told(result, name)}")
        if name in result.failures:
            lines.append(f"  {name:{width}}  failed: {result.failures[name]}")
    lines += [f"  {name:{width}}  {reason}" for name, reason in contest.missing.items()]
    lines += [f"  {verdict.text}" for verdict in result.verdicts]
    return "\n".join(lines)


def _told(result: Result, name: str) -> str:
    figures = result.figures(name)
    if not figures:
        return "-"
    head = figures[0]
    values = result.values(name, head)
    parts = [f"{number(statistics.median(values))} {head}"]
    if (times := _times(result, name, head)) is not None:
        parts.append(f"× {times:.2f}")
    parts.append(f"[{runs(values)}]")
    parts += _besides(result, name)
    return "  ".join(parts)


def _besides(result: Result, name: str) -> list[str]:
    """The other figures, each with the median of the runs."""
    medians = ((other, result.median(name, other)) for other in result.figures(name)[1:])
    return [f"{other} {number(value)}" for other, value in medians if value is not None]


def _times(result: Result, name: str, figure: str) -> float | None:
    floor = result.contest.floor
    return None if floor in {None, name} else result.ratio(name, str(floor), figure)


# --- Markdown ------------------------------------------------------------------------------------


def markdown(result: Result) -> str:
    """A contest as a heading, a table, and what was to be reached."""
    contest = result.contest
    head = next((result.figures(name)[0] for name in contest.runs if result.figures(name)), "")
    rows = [_row(result, name) for name in contest.runs]
    rows += [(name, "-", "-", "-", "-", reason) for name, reason in contest.missing.items()]
    parts = [
        f"**{contest.title}**",
        table(("", f"{head}, median", "least to most", "× floor", "runs", "besides"), rows),
    ]
    if result.verdicts:
        parts.append("To be reached: " + "; ".join(v.text for v in result.verdicts) + ".")
    parts += [f"{name}: {text}." for name, text in contest.settings.items()]
    return "\n\n".join(parts)


def _row(result: Result, name: str) -> tuple[str, ...]:
    figures = result.figures(name)
    if not figures:
        return (name, "-", "-", "-", "-", f"failed: {result.failures.get(name, 'no sample')}")
    head = figures[0]
    values = result.values(name, head)
    times = _times(result, name, head)
    besides = _besides(result, name)
    if name in result.failures:
        besides.append(f"failed: {result.failures[name]}")
    return (
        name,
        number(statistics.median(values)),
        f"{number(min(values))}–{number(max(values))}",
        "-" if times is None else f"{times:.2f}",
        runs(values),
        ", ".join(besides),
    )


def summary(results: Sequence[Result], before: str = "") -> str:
    """All bounds, and how they were kept; those of a page `before` that were not played stay."""
    kept = {cells[:3]: cells for cells in rows_of(before)}
    today = str(datetime.now(UTC).date())
    found = {
        (result.contest.title, verdict.reach.of, verdict.reach.text): (
            "-" if verdict.value is None else f"{verdict.value:.3g}",
            {True: "yes", False: "**no**", None: "not compared"}[verdict.holds],
            today,
        )
        for result in results
        for verdict in result.verdicts
    }
    rows = kept | {place: (*place, *cells) for place, cells in found.items()}
    return table(SUMMARY_COLUMNS, [*rows.values()])


def write(path: Path, results: Sequence[Result], setting: str, *, whole: bool) -> None:
    """Fill those sections of a page whose rows were all played, and their lines of the summary."""
    page = path.read_text()
    played = {result.row for result in results}
    if not BEGIN.search(page):
        raise SystemExit(f"{path} has no line '<!-- bench: ROW … -->' to write below")
    for mark in BEGIN.finditer(page):
        names = mark[1].split()
        if names == [SUMMARY]:
            before = page.partition(mark[0])[2].partition(END)[0]
            text = summary(results, "" if whole else before)
        elif played.issuperset(names):
            played_here = (markdown(one) for one in results if one.row in names)
            text = "\n\n".join([setting, *played_here])
        else:
            continue
        page = between(page, mark[0], END, text, path)
    path.write_text(page)
