"""`FrozenClock`: time as a test wants it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

import jobq
from jobq.testing import FrozenClock

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_it_stands_still_until_it_is_moved():
    clock = FrozenClock(NOON)
    assert clock.now() == clock.now() == 1_893_499_200_000_000
    assert clock.time == NOON


def test_it_advances_by_seconds_and_timedeltas():
    clock = FrozenClock(NOON)
    assert clock.advance(0.25) == NOON + timedelta(milliseconds=250)
    assert clock.advance(timedelta(days=1)) == NOON + timedelta(days=1, milliseconds=250)


def test_it_jumps_to_an_instant_in_any_zone_even_back():
    clock = FrozenClock(NOON)
    earlier = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert clock.set(earlier) == NOON - timedelta(hours=2)


def test_it_starts_now_by_default():
    before = jobq.SystemClock().now()
    assert before <= FrozenClock().now() <= jobq.SystemClock().now()


@pytest.mark.parametrize("by", [-1, timedelta(seconds=-1)])
def test_advancing_never_goes_back(by):
    with pytest.raises(jobq.OptionError, match=r"set\(\)"):
        FrozenClock().advance(by)


def test_a_naive_datetime_is_refused_everywhere():
    naive = datetime(2030, 1, 1)  # noqa: DTZ001  what is refused
    with pytest.raises(jobq.OptionError, match=r"start=.* has no time zone"):
        FrozenClock(naive)
    with pytest.raises(jobq.OptionError, match=r"moment=.* has no time zone"):
        FrozenClock().set(naive)


def test_it_is_a_clock_that_stands_in_for_the_databases():
    clock: jobq.Clock = FrozenClock()
    assert clock.frozen


def test_a_queue_tells_the_time_by_it(queue, clock):
    job = queue.enqueue("report", delay=60)
    assert (job.created_at, job.run_at) == (clock.time, clock.time + timedelta(minutes=1))
    later = clock.advance(5)
    assert queue.cancel(job.id).completed_at == later
