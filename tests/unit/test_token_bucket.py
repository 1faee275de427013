"""The arithmetic of rate limits: exact in every window, and no slower than it says."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import jobq

SECOND = 1_000_000
NOON = 1_800_000_000 * SECOND


def busiest(starts: list[tuple[int, int]], span: int) -> int:
    """The most units in any half-open window of that span, of (instant, units) pairs."""
    ordered = sorted(starts)
    most = inside = first = 0
    for instant, units in ordered:
        inside += units
        while ordered[first][0] <= instant - span:
            inside -= ordered[first][1]
            first += 1
        most = max(most, inside)
    return most


@st.composite
def limits(draw):
    """(n, per, max_cost, headroom), from tiny to larger than any provider's."""
    n = draw(st.integers(1, 40) | st.integers(1, 10_000_000))
    per = draw(st.sampled_from([0.001, 0.05, 1, 1.7, 10, 60, 3600, 86400]) | st.floats(0.001, 1e5))
    max_cost = draw(st.integers(1, min(n, 12)) | st.integers(1, n))
    return n, per, max_cost, draw(st.sampled_from([0.0, 0.01, 0.3, 0.5]) | st.floats(0, 0.5))


@st.composite
def demands(draw, bucket):
    """(rest before it asks, cost, how late it starts), with rests around what matters."""
    rests = st.just(0) | st.integers(0, 3 * bucket.increment()) | st.integers(0, 2 * bucket.period)
    late = st.sampled_from([0, bucket.tolerance]) | st.integers(0, bucket.tolerance)
    costs = st.sampled_from([1, bucket.burst]) | st.integers(0, bucket.burst)
    return draw(st.lists(st.tuples(rests, costs, late), min_size=1, max_size=40))


@given(limits(), st.data())
def test_no_window_ever_holds_more_than_n_units_however_late_permits_are_used(limit, data):
    n, per, max_cost, headroom = limit
    bucket = jobq.TokenBucket.strict(n, per=per, max_cost=max_cost, headroom=headroom)
    now, tat, starts = NOON, 0, []
    for rest, cost, late in data.draw(demands(bucket)):
        now += rest
        start = bucket.opening(tat, now, cost)
        tat = bucket.debit(tat, start, cost)
        starts.append((start + late, cost))
    assert busiest(starts, round(per * SECOND)) <= n


@given(limits())
@example((60, 60, 1, 0.01))
@example((60, 60, 1, 0.0))
@example((10, 1, 10, 0.0))
@example((1000, 60, 17, 0.01))
@example((7, 60, 3, 0.5))
def test_the_tightest_window_of_a_saturated_bucket_holds_n_units_at_most(limit):
    """First as late as allowed and last at once: the worst that permits may come to."""
    n, per, max_cost, headroom = limit
    bucket = jobq.TokenBucket.strict(n, per=per, max_cost=max_cost, headroom=headroom)
    tat, now, starts = 0, NOON, []
    for cost in [max_cost] + [1] * min(n + 5, 300):
        now = bucket.opening(tat, now, cost)
        tat = bucket.debit(tat, now, cost)
        starts.append((now, cost))
    first, *others = starts
    assert busiest([(first[0] + bucket.tolerance, first[1]), *others], round(per * SECOND)) <= n


@pytest.mark.parametrize("n, max_cost", [(60, 1), (10, 4), (5, 5), (1000, 17)])
def test_a_window_a_little_longer_than_the_period_may_hold_more(n, max_cost):
    """The bound is no stricter than it must be: the next unit goes soon after the window."""
    bucket = jobq.TokenBucket.strict(n, per=60, max_cost=max_cost)
    tat, now, starts = 0, NOON, []
    for cost in [max_cost] + [1] * n:
        now = bucket.opening(tat, now, cost)
        tat = bucket.debit(tat, now, cost)
        starts.append((now, cost))
    assert busiest(starts, 62 * SECOND) > n


@given(limits(), st.integers(0, 10**9), st.integers(0, 10**13), st.data())
def test_an_opening_is_the_earliest_start_there_is(limit, back, now, data):
    n, per, max_cost, headroom = limit
    bucket = jobq.TokenBucket.strict(n, per=per, max_cost=max_cost, headroom=headroom)
    cost = data.draw(st.integers(0, max_cost))
    tat = now + bucket.period - back
    opening = bucket.opening(tat, now, cost)
    full_within = bucket.increment(max_cost) + min(max_cost - 1, 1000)
    assert opening >= now
    assert bucket.debit(tat, opening, cost) <= opening + full_within
    if opening > now:
        assert bucket.debit(tat, opening - 1, cost) > opening - 1 + full_within
    assert bucket.opening(tat, opening, cost) == opening


@given(limits(), st.integers(-(10**9), 10**9))
def test_free_is_the_greatest_cost_that_may_go_now(limit, ahead):
    n, per, max_cost, headroom = limit
    bucket = jobq.TokenBucket.strict(n, per=per, max_cost=max_cost, headroom=headroom)
    free = bucket.free(NOON + ahead, NOON)
    assert 0 <= free <= max_cost
    assert free == 0 or bucket.opening(NOON + ahead, NOON, free) == NOON
    assert free == max_cost or bucket.opening(NOON + ahead, NOON, free + 1) > NOON


@pytest.mark.parametrize("n, per, burst", [(10, 1, 4), (1000, 60, 17), (7, 60, 3), (9, 1, 1)])
def test_a_full_bucket_gives_exactly_its_burst_at_once_and_the_next_an_increment_later(
    n, per, burst
):
    bucket = jobq.TokenBucket.strict(n, per=per, max_cost=burst)
    tat, starts = 0, []
    for _ in range(burst + 1):
        starts.append(bucket.opening(tat, NOON))
        tat = bucket.debit(tat, starts[-1])
    assert starts[:burst] == [NOON] * burst
    assert bucket.increment() - burst < starts[burst] - NOON <= bucket.increment()


def test_idle_time_is_not_counted_twice():
    bucket = jobq.TokenBucket.strict(60, per=60, max_cost=5)
    tat = 0
    for now in (NOON, NOON + 600 * SECOND, NOON + 86400 * SECOND):
        assert bucket.free(tat, now) == 5
        for _ in range(5):
            assert bucket.opening(tat, now) == now
            tat = bucket.debit(tat, now)
        assert bucket.free(tat, now) == 0
        assert bucket.opening(tat, now) > now + SECOND


def test_a_million_grants_drift_by_less_than_a_millionth():
    bucket = jobq.TokenBucket.strict(7, per=60)
    tat = now = NOON
    opening, debit = bucket.opening, bucket.debit
    for _ in range(1_000_000):
        now = opening(tat, now)
        tat = debit(tat, now)
    assert 0 <= (tat - NOON) / (1_000_000 * bucket.period / bucket.units) - 1 < 1e-6


@given(limits(), st.data())
def test_a_grant_is_late_by_less_than_a_microsecond_whatever_its_cost(limit, data):
    n, per, max_cost, headroom = limit
    bucket = jobq.TokenBucket.strict(n, per=per, max_cost=max_cost, headroom=headroom)
    cost = data.draw(st.integers(0, max_cost))
    assert 0 <= bucket.increment(cost) * bucket.units - cost * bucket.period < bucket.units


@pytest.mark.parametrize(
    "n, max_cost, cost", [(7, 1, 1), (4_000_000, 200_000, 50_000), (1000, 17, 1), (10, 4, 3)]
)
def test_odd_rates_are_kept_within_a_thousandth_of_the_effective_rate(n, max_cost, cost):
    bucket = jobq.TokenBucket.strict(n, per=60, max_cost=max_cost)
    tat = now = NOON
    for _ in range(2000):
        now = bucket.opening(tat, now, cost)
        tat = bucket.debit(tat, now, cost)
    units = 2000 * cost - max_cost
    assert units / (now - NOON) * SECOND == pytest.approx(bucket.rate, rel=0.001)
    assert bucket.rate == pytest.approx((n - max_cost + 1) / 60 * 0.99, rel=1e-4)


@given(limits(), st.integers(1, 60), st.integers(-5, 5), st.data())
def test_a_clock_that_steps_grants_one_more_burst_at_most(limit, before, step, data):
    n, per, max_cost, headroom = limit
    bucket = jobq.TokenBucket.strict(n, per=per, max_cost=max_cost, headroom=headroom)
    rests = data.draw(st.lists(st.integers(0, bucket.period), min_size=1, max_size=40))
    true, tat, starts = 10 * NOON, 0, []
    for number, rest in enumerate(rests):
        true += rest
        shift = step * SECOND if number >= before else 0
        start = bucket.opening(tat, true + shift)
        true = start - shift
        tat = bucket.debit(tat, start)
        starts.append((true, 1))
    assert busiest(starts, round(per * SECOND)) <= n + max_cost


@pytest.mark.parametrize("step", [-5, 5])
def test_after_a_step_of_the_clock_it_recovers(step):
    bucket = jobq.TokenBucket.strict(60, per=60)
    tat = bucket.debit(0, NOON)
    now = NOON + step * SECOND
    first = bucket.opening(tat, now)
    second = bucket.opening(bucket.debit(tat, first), first)
    assert first - now <= bucket.increment() + 5 * SECOND
    assert second - first == bucket.increment()


@pytest.mark.parametrize(
    "per, headroom, tolerance",
    [(60, 0.01, 0.6), (1, 0.01, 0.02), (3600, 0.01, 1), (60, 0, 0.02), (0.001, 0.01, 0.02)],
)
def test_the_tolerance_is_the_headroom_within_20_ms_and_1_s(per, headroom, tolerance):
    bucket = jobq.TokenBucket.strict(100, per=per, headroom=headroom)
    assert bucket.tolerance == tolerance * SECOND
    assert bucket.period >= per * SECOND + bucket.tolerance
    assert bucket.period >= per * SECOND / (1 - headroom)
    assert bucket.period <= max(per * SECOND + bucket.tolerance, per * SECOND / (1 - headroom)) + 1


@pytest.mark.parametrize("n, burst", [(60, 1), (60, 60), (7, 20)])
def test_a_raw_bucket_is_the_textbooks(n, burst):
    bucket = jobq.TokenBucket.raw(n, per=60, burst=burst)
    tat, now, starts = 0, NOON, []
    for _ in range(burst + 3 * n):
        now = bucket.opening(tat, now)
        tat = bucket.debit(tat, now)
        starts.append((now, 1))
    assert starts[burst - 1][0] == NOON
    assert busiest(starts, 60 * SECOND) in (burst + n - 1, burst + n)
    assert starts[-1][0] - NOON == pytest.approx(180 * SECOND, rel=1e-6)


def test_a_cost_above_the_burst_is_an_error_and_no_endless_wait():
    bucket = jobq.TokenBucket.strict(10, per=1, max_cost=3)
    with pytest.raises(ValueError, match="a cost of 4 never fits a bucket of 3"):
        bucket.opening(0, NOON, 4)


@pytest.mark.parametrize(
    "options",
    [
        {"n": 0},
        {"n": -1},
        {"n": 5, "max_cost": 6},
        {"n": 5, "max_cost": 0},
        {"n": 5, "per": 0},
        {"n": 5, "per": -1},
        {"n": 5, "per": math.nan},
        {"n": 5, "per": math.inf},
        {"n": 5, "headroom": 1},
        {"n": 5, "headroom": -0.1},
        {"n": 5, "headroom": math.nan},
    ],
)
def test_numbers_that_make_no_bucket_are_refused(options):
    with pytest.raises(jobq.ConfigurationError, match="TokenBucket"):
        jobq.TokenBucket.strict(**{"per": 60, **options})
