"""What the benchmarks make of their samples: ratios, bounds and pages."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from benchmarks import table
from benchmarks.contest import Contest, Reach, Result, Sample, play

FASTER = Reach("jobs/s", least=0.5, to="floor")


def rates(*values: float):
    """A run that gives these rates, one a trial."""
    given = itertools.cycle(values)
    return lambda: {"jobs/s": next(given)}


def played(reach: Reach = FASTER, trials: int = 3, **runs) -> Result:
    return play("drain", Contest(title="drain", runs=runs, floor="floor", reaches=[reach]), trials)


def failing() -> Sample:
    raise OSError("it has no memory left")


def test_a_ratio_is_the_median_of_the_trials_own_ratios():
    result = played(floor=rates(100, 1_000, 10), jobq=rates(60, 500, 9))
    assert result.ratio("jobq", "floor", "jobs/s") == 0.6
    assert result.missed == []


def test_a_bound_that_is_not_kept_is_missed():
    [missed] = played(floor=rates(100), jobq=rates(49)).missed
    assert missed.startswith("jobq: jobs/s")
    assert missed.endswith("floor: 0.49 MISSED")


def test_jobq_misses_its_bound_where_it_cannot_be_measured_and_a_peer_that_fails_excuses_it():
    assert played(floor=rates(100), jobq=failing).missed
    result = played(floor=failing, jobq=rates(100))
    assert result.missed == []
    assert "it has no memory left" in result.failures["floor"]
    assert [verdict.holds for verdict in result.verdicts] == [None]


def test_contestants_take_turns_and_so_does_who_begins():
    order: list[str] = []

    def run(name: str):
        return lambda: order.append(name) or {"jobs/s": 1.0}

    played(floor=run("floor"), jobq=run("jobq"), trials=2)
    assert order == ["floor", "jobq", "jobq", "floor"]


def test_a_page_gets_the_sections_whose_rows_were_played(tmp_path: Path):
    page = tmp_path / "page.md"
    marks = [f"<!-- bench: {name} -->\n{table.END}\n" for name in ("drain", "idle", "summary")]
    page.write_text("\n".join(marks))
    result = played(floor=rates(100), jobq=rates(80))
    table.write(page, [result], "A quick run.", whole=False)
    written = page.read_text()
    assert written.count("A quick run.") == 1
    assert "| 0.80 | 80 80 80 |" in written
    assert "floor | 0.8 | yes |" in written
    table.write(page, [result], "A whole run.", whole=True)
    written = page.read_text()
    assert written.count("A whole run.") == 1
    assert "floor | 0.8 | yes |" in written


def test_a_line_of_the_summary_stays_until_its_row_is_played_again(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(f"<!-- bench: summary -->\n{table.END}\n")

    def lines(title: str, ours: float, *, whole: bool) -> list[str]:
        contest = Contest(
            title=title,
            runs={"floor": rates(100), "jobq": rates(ours)},
            floor="floor",
            reaches=[FASTER],
        )
        table.write(page, [play("row", contest, 1)], "A run.", whole=whole)
        found = [line.split(" | ") for line in page.read_text().splitlines() if "floor |" in line]
        return [f"{cells[0]} {cells[3]}" for cells in found]

    assert lines("drain", 80, whole=True) == ["| drain 0.8"]
    assert lines("idle", 60, whole=False) == ["| drain 0.8", "| idle 0.6"]
    assert lines("drain", 90, whole=False) == ["| drain 0.9", "| idle 0.6"]
    assert lines("idle", 70, whole=True) == ["| idle 0.7"]


def test_a_page_without_sections_is_refused(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("Nothing to fill.\n")
    with pytest.raises(SystemExit, match="has no line"):
        table.write(page, [], "", whole=True)
