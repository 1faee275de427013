"""How often looks are made that grow dearer."""

from __future__ import annotations

import pytest

from jobq._worker.pace import LONGEST, Pace


@pytest.mark.parametrize("cost", [0.001, 0.2])
def test_looks_that_cost_what_they_always_did_take_a_fifth_of_the_time(cost: float) -> None:
    pace = Pace()
    assert [pace.rest(cost) for _ in range(3)] == pytest.approx([4 * cost] * 3)


def test_the_dearer_looks_become_the_smaller_is_their_share_of_the_time() -> None:
    pace = Pace()
    pace.rest(0.001)
    costs = (0.01, 0.03, 0.1, 0.3)
    shares = [cost / (cost + pace.rest(cost)) for cost in costs]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.03


def test_looks_that_cannot_be_put_off_for_long_say_so() -> None:
    pace = Pace(3.0)
    pace.rest(0.001)
    assert pace.rest(0.05) == pytest.approx(0.2 + 160 * 0.049**2)
    assert pace.rest(0.3) == pytest.approx(1.2 + 3.0)


def test_no_look_is_put_off_for_long() -> None:
    pace = Pace()
    pace.rest(0.001)
    assert pace.rest(5.0) == LONGEST
