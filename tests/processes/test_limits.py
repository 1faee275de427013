"""The measurements of `tests.limits` at their smallest; only what can be counted is asserted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import tests.limits.measures  # noqa: F401  fills MEASURES
from tests.limits.lab import MEASURES, Lab, perform

Count = Callable[..., None]


@pytest.fixture
def count(url: str, tmp_path: Path) -> Count:
    """Take a measurement, and look at the figures that are no timings."""

    def count(name: str, over: object = "") -> None:
        lab = Lab(url, tmp_path, "tiny")
        figures = list(perform(MEASURES[name], lab, over))
        missed = [figure for figure in figures if not figure.is_timing and not figure.holds]
        assert figures
        assert not missed, "\n".join(map(str, missed))

    return count


def test_no_window_holds_more_than_its_limit_over_several_workers(count: Count) -> None:
    count("bound", 2)


def test_several_limits_are_taken_together_or_not_at_all(count: Count) -> None:
    count("several")


def test_jobs_from_a_process_without_handlers_stay_within_their_limits(count: Count) -> None:
    count("undeclared")


def test_an_independent_provider_refuses_nothing(count: Count) -> None:
    count("provider")
