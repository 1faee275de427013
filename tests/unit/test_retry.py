"""Backoff and retry policies are functions of values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobq

attempts = st.integers(min_value=1, max_value=10_000)
rands = st.floats(min_value=0, max_value=1, exclude_max=True)


@st.composite
def exponentials(draw, jitters=("full", "equal", "none")):
    base = draw(st.floats(min_value=0.001, max_value=1e6))
    return jobq.Exponential(
        base=base,
        factor=draw(st.floats(min_value=1, max_value=1e6)),
        cap=draw(st.floats(min_value=base, max_value=1e9)),
        jitter=draw(st.sampled_from(jitters)),
    )


@given(exponentials(), attempts, rands)
def test_a_delay_is_never_negative_nor_above_the_cap(backoff, attempt, rand):
    assert 0 <= backoff.delay(attempt, rand) <= backoff.cap


@given(exponentials(["none"]), attempts)
def test_delays_grow_until_they_reach_the_cap(backoff, attempt):
    first, second = backoff.delay(attempt, 0.0), backoff.delay(attempt + 1, 0.0)
    assert first <= second
    assert first == backoff.cap or first >= backoff.base


@given(exponentials(), attempts, rands)
def test_each_jitter_stays_within_its_bounds(backoff, attempt, rand):
    ceiling = jobq.Exponential(
        base=backoff.base, factor=backoff.factor, cap=backoff.cap, jitter="none"
    ).delay(attempt, 0.0)
    delay = backoff.delay(attempt, rand)
    lowest = {"full": 0.0, "equal": ceiling / 2, "none": ceiling}[backoff.jitter]
    assert lowest <= delay <= ceiling


@given(exponentials(), attempts, rands)
def test_the_same_random_number_gives_the_same_delay(backoff, attempt, rand):
    assert backoff.delay(attempt, rand) == backoff.delay(attempt, rand)


@given(exponentials(["full", "equal"]), attempts, rands, rands)
def test_a_larger_random_number_never_gives_a_shorter_delay(backoff, attempt, one, other):
    low, high = sorted([one, other])
    assert backoff.delay(attempt, low) <= backoff.delay(attempt, high)


def test_the_default_doubles_from_five_seconds_to_ten_minutes():
    backoff = jobq.Exponential(jitter="none")
    delays = [backoff.delay(attempt, 0.0) for attempt in range(1, 10)]
    assert delays == [5, 10, 20, 40, 80, 160, 320, 600, 600]


def test_a_power_too_large_for_a_float_is_the_cap():
    assert jobq.Exponential(factor=1e300, cap=60, jitter="none").delay(10_000, 0.0) == 60


@given(st.floats(min_value=0, max_value=1e9), attempts, rands)
def test_a_fixed_backoff_is_always_the_same(seconds, attempt, rand):
    assert jobq.Fixed(seconds).delay(attempt, rand) == seconds


@pytest.mark.parametrize(
    "options, named",
    [
        ({"base": 0}, "base"),
        ({"base": -1}, "base"),
        ({"base": float("nan")}, "base"),
        ({"base": float("inf")}, "base"),
        ({"factor": 0.9}, "factor"),
        ({"factor": float("nan")}, "factor"),
        ({"base": 10, "cap": 9}, "cap"),
        ({"cap": float("inf")}, "cap"),
        ({"cap": float("nan")}, "cap"),
        ({"jitter": "some"}, "jitter"),
    ],
)
def test_a_bad_exponential_is_refused_when_it_is_declared(options, named):
    with pytest.raises(jobq.ConfigurationError, match=named):
        jobq.Exponential(**options)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_a_bad_fixed_backoff_is_refused(seconds):
    with pytest.raises(jobq.ConfigurationError, match="seconds must be 0 or more"):
        jobq.Fixed(seconds)


@pytest.mark.parametrize("value", [0, -1, 10_001, 1.5, True, "3", None])
def test_max_attempts_must_be_a_reasonable_integer(value):
    with pytest.raises(jobq.ConfigurationError, match="from 1 to 10000"):
        jobq.Retry(max_attempts=value)


class Refused(ConnectionError):
    pass


@pytest.mark.parametrize(
    "raised, expected",
    [
        (ConnectionResetError, "connection"),
        (Refused, "connection"),
        (TimeoutError, "os"),
        (OSError, "os"),
        (ValueError, None),
        (UnicodeDecodeError, None),
        (KeyError, "default"),
    ],
)
def test_the_rule_of_the_nearest_base_class_wins(raised, expected):
    backoffs = {"connection": jobq.Fixed(1), "os": jobq.Fixed(2), "default": jobq.Fixed(3)}
    policy = jobq.Retry(
        backoff=backoffs["default"],
        rules={OSError: backoffs["os"], ConnectionError: backoffs["connection"], ValueError: None},
    )
    assert policy.backoff_for(raised) == (None if expected is None else backoffs[expected])


@pytest.mark.parametrize("kind", [int, "ValueError", ValueError("x"), None])
def test_a_rule_for_what_is_no_exception_class_is_refused(kind):
    with pytest.raises(jobq.ConfigurationError, match="not an exception class"):
        jobq.Retry(rules={kind: None})
