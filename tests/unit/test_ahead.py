"""How many jobs are held ahead of the slots."""

from __future__ import annotations

import pytest

from jobq._worker.ahead import MOST, REST, Ahead


def measured(*, jobs: int, took: float, span: float) -> int:
    ahead = Ahead()
    ahead.measure(100.0)
    for _ in range(jobs):
        ahead.ended(took)
    ahead.measure(100.0 + span)
    return ahead.size


def test_nothing_is_held_ahead_before_anything_was_measured() -> None:
    ahead = Ahead()
    ahead.measure(100.0)
    assert ahead.size == 0


@pytest.mark.parametrize("jobs, size", [(10, 10), (60, 60), (999, 999), (50_000, MOST)])
def test_what_is_done_in_a_tenth_of_a_second_is_held_ahead(jobs: int, size: int) -> None:
    assert measured(jobs=jobs, took=0.0001, span=0.1) == size


def test_jobs_that_take_ten_milliseconds_are_not_held_ahead() -> None:
    assert measured(jobs=100, took=0.0099, span=0.1) == 100
    assert measured(jobs=100, took=0.01, span=0.1) == 0


def test_a_few_slow_jobs_among_many_short_ones_count() -> None:
    ahead = Ahead()
    ahead.measure(100.0)
    for _ in range(99):
        ahead.ended(0.0)
    ahead.ended(1.5)
    ahead.measure(100.1)
    assert ahead.size == 0


def test_it_grows_after_a_glance_and_shrinks_only_after_a_whole_window() -> None:
    ahead = Ahead()
    ahead.measure(100.0)
    sizes = []
    for jobs, now in [(10, 100.004), (10, 100.008), (90, 100.018), (1, 100.03), (1, 100.07)]:
        for _ in range(jobs):
            ahead.ended(0.0001)
        ahead.measure(now)
        sizes.append(ahead.size)
    # Too soon to say; 20 in 8 ms; 90 in the next 10; fewer, but not for long; 2 in 52 ms.
    assert sizes == [0, 250, 900, 900, 4]


def test_a_slow_job_counts_only_when_the_window_ends() -> None:
    ahead = Ahead()
    ahead.measure(100.0)
    for _ in range(100):
        ahead.ended(0.0001)
    ahead.measure(100.01)
    ahead.ended(5.0)
    ahead.measure(100.03)
    assert ahead.size == 1000
    ahead.measure(100.07)
    assert ahead.size == 0


def test_attempts_are_slow_as_soon_as_one_is_and_until_others_were_not() -> None:
    ahead = Ahead()
    ahead.measure(100.0)
    seen = [ahead.are_slow]
    for took, now in [(0.05, 100.01), (None, 100.06), (None, 100.2), (0.0001, 100.3)]:
        if took is not None:
            ahead.ended(took)
        seen.append(ahead.are_slow)
        ahead.measure(now)
    assert seen == [False, True, True, True, False]


def test_what_was_measured_before_a_pause_says_nothing() -> None:
    assert measured(jobs=1000, took=0.0001, span=60.0) == 0


def test_nothing_is_held_ahead_for_a_while_after_some_had_to_go_back() -> None:
    ahead = Ahead()
    ahead.measure(100.0)
    ahead.failed(100.0)
    sizes = []
    for tenth in range(1, 60):
        for _ in range(100):
            ahead.ended(0.0001)
        ahead.measure(100.0 + tenth / 10)
        sizes.append((tenth / 10, ahead.size))
    assert {size for at, size in sizes if at < REST} == {0}
    assert {size for at, size in sizes if at > REST + 0.01} == {100}
