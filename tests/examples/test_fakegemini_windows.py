"""The fake provider's limits let in what they say, and are the judge of everybody else's."""

from __future__ import annotations

import math
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.fakegemini import most_within
from examples.fakegemini.limits import Doors, Limits
from examples.fakegemini.windows import CalendarDay, FixedWindow, SlidingLog, TokenBucket, window

GAPS = st.lists(st.sampled_from([0, 0.5, 1, 5, 14.5, 20, 40]), max_size=40)
"""Seconds between two requests."""


def let_in(door, gaps: list[float], start: float = 0.0) -> list[float]:
    """The instants of those that were let in."""
    now, instants = start, []
    for gap in gaps:
        now += gap
        if not door.wait(1, now):
            door.take(1, now)
            instants.append(now)
    return instants


@given(st.integers(1, 5), GAPS)
def test_a_sliding_log_lets_in_never_more_than_its_limit_in_any_window(limit, gaps):
    instants = let_in(SlidingLog(limit, 60), gaps)
    assert most_within(60, instants) <= limit


@given(st.integers(1, 5), GAPS)
def test_a_sliding_log_refuses_only_what_would_be_too_much(limit, gaps):
    door, now, instants = SlidingLog(limit, 60), 0.0, []
    for gap in gaps:
        now += gap
        if door.wait(1, now):
            assert most_within(60, [*instants, now]) > limit
        else:
            door.take(1, now)
            instants.append(now)


@given(st.integers(2, 5), st.integers(1, 2), GAPS)
def test_what_has_waited_as_long_as_it_was_told_is_let_in_and_not_before(limit, amount, gaps):
    door, now = SlidingLog(limit, 60), 0.0
    for gap in gaps:
        now += gap
        wait = door.wait(amount, now)
        if wait:
            assert door.wait(amount, now + wait - 0.25)
            now += wait
        assert door.wait(amount, now) == 0
        door.take(amount, now)


def test_a_fixed_window_lets_twice_its_limit_in_around_a_tick():
    door = FixedWindow(10, 60)
    instants = let_in(door, [0] * 30, start=59.0) + let_in(door, [0] * 30, start=60.0)
    assert most_within(60, instants) == 20
    assert door.wait(1, 61) == 59


def test_a_bucket_lets_in_what_it_keeps_and_what_flows():
    door = TokenBucket(60, 60)
    instants = let_in(door, [0.5] * 240)
    assert len(instants) == 60 + 119
    assert instants[-1] == 119.5
    assert door.free(120) == 0
    assert door.wait(2, 120) == 1.5


def test_a_bucket_of_one_enforces_sixty_a_minute_as_one_a_second():
    door = TokenBucket(60, 60, burst=1)
    assert most_within(1, let_in(door, [0.25] * 40, start=1000)) == 1
    assert math.isinf(door.wait(2, 2000))


@pytest.mark.parametrize(
    "month, hour_of_midnight", [(1, 8), (7, 7)], ids=["in winter", "in summer"]
)
def test_a_day_ends_at_midnight_in_california(month, hour_of_midnight):
    door = CalendarDay(2)
    now = datetime(2026, month, 10, 5, tzinfo=ZoneInfo("UTC")).timestamp()
    door.take(2, now)
    assert door.wait(1, now) == (hour_of_midnight - 5) * 3600
    assert door.wait(1, now + door.wait(1, now)) == 0


@pytest.mark.parametrize("kind", ["sliding", "fixed", "bucket"])
def test_what_is_larger_than_its_limit_never_gets_in(kind):
    assert math.isinf(window(kind, 10, 60).wait(11, 0))


@pytest.mark.parametrize("kind, free", [("sliding", 0), ("fixed", 0), ("bucket", 4)])
def test_a_limit_that_shrinks_holds_at_once(kind, free):
    door = window(kind, 10, 60)
    door.take(4, 0)
    door.limit = 4
    assert door.free(0) == free
    assert door.wait(free + 1, 0) > 0


def test_a_window_that_is_unknown_is_an_error():
    with pytest.raises(ValueError, match="sliding, fixed or bucket"):
        Doors(Limits(rpm=1), kind="rolling")


def test_a_closed_limit_takes_nothing_of_the_others():
    doors = Doors(Limits(rpm=2, tpm=100))
    assert doors.admit("p", "m", 90, now=0) is None
    assert doors.admit("p", "m", 90, now=1).quota == "tokens"
    assert doors.standings("p", "m", 1)["requests"].free == 1
    assert doors.admit("p", "m", 10, now=1) is None


def test_each_project_and_each_model_has_limits_of_its_own():
    doors = Doors(Limits(rpm=1), {"large": Limits(rpm=2)})
    assert doors.admit("p", "m", 0, now=0) is None
    assert doors.admit("p", "m", 0, now=0).wait == 60
    assert doors.admit("q", "m", 0, now=0) is None
    assert [doors.admit("p", "large", 0, now=0) for _ in range(2)] == [None, None]
    assert doors.admit("p", "large", 0, now=0).limit == 2


def test_a_limit_below_one_is_an_error():
    with pytest.raises(ValueError, match="rpd must be at least 1, not 0"):
        Limits(rpd=0)
