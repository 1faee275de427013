"""Instants and spans: integers inside, aware datetimes outside."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq._clock import from_datetime, to_datetime, to_span

zones = st.builds(
    timezone, st.timedeltas(min_value=timedelta(hours=-23), max_value=timedelta(hours=23))
)


@given(st.datetimes(timezones=zones, min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)))  # noqa: DTZ001
def test_an_instant_keeps_every_microsecond_in_any_zone(moment):
    instant = from_datetime(moment, name="run_at")
    assert to_datetime(instant) == moment
    assert to_datetime(instant).tzinfo is UTC


@given(st.integers(min_value=0, max_value=2**52))
def test_an_integer_comes_back_as_it_was(instant):
    assert from_datetime(to_datetime(instant), name="run_at") == instant


@given(st.timedeltas(min_value=timedelta(days=-10_000), max_value=timedelta(days=10_000)))
def test_a_timedelta_is_exact(span):
    assert timedelta(microseconds=to_span(span, name="delay")) == span


@given(st.floats(min_value=-1e9, max_value=1e9))
def test_seconds_are_right_to_the_microsecond(seconds):
    assert abs(to_span(seconds, name="delay") - seconds * 1_000_000) <= 1


@pytest.mark.parametrize("value", ["1", None, True, date(2030, 1, 1), [1]])
def test_a_span_must_be_a_number_or_a_timedelta(value):
    with pytest.raises(jobq.OptionError, match="delay must be seconds or a timedelta, not"):
        to_span(value, name="delay")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e12, 10**400])
def test_a_number_that_no_database_can_store_is_refused(value):
    with pytest.raises(jobq.OptionError, match=r"delay=.* cannot be|delay=.* can be stored"):
        to_span(value, name="delay")


def test_a_naive_datetime_is_refused_with_the_fix():
    with pytest.raises(jobq.OptionError, match=r"run_at=.*no time zone; use datetime.now\(UTC\)"):
        from_datetime(datetime(2030, 1, 1), name="run_at")  # noqa: DTZ001  what is refused


@pytest.mark.parametrize("value", [date(2030, 1, 1), "2030-01-01", 5])
def test_what_is_no_datetime_is_refused(value):
    with pytest.raises(jobq.OptionError, match="run_at must be a datetime, not"):
        from_datetime(value, name="run_at")


def test_the_system_clock_goes_on_and_does_not_stand_in_for_the_databases():
    clock: jobq.Clock = jobq.SystemClock()
    first = clock.now()
    assert not clock.frozen
    assert first <= clock.now()
    assert abs(to_datetime(first) - datetime.now(UTC)) < timedelta(minutes=1)
