"""What a worker remembers of lanes: no more than there are, and which of them it asked in vain."""

from __future__ import annotations

import time
from typing import Any

import pytest

import jobq
from jobq import RateLimit, backends
from jobq._limits.lanes import Lane, Ref
from jobq._worker.lanes import Lanes

SECOND = 1_000_000
HOUR = 3600 * SECOND
SLACK = 5.0
"""Seconds that a test may be held up between two lines."""


@pytest.fixture
def lanes(sqlite: str, router: jobq.Router) -> Any:
    @router.handler("t", limits=[RateLimit("tenant:{owner}", 5, per=60)])
    async def handle() -> None: ...

    with jobq.Queue(sqlite, router=router) as queue:
        yield Lanes(queue._config, None)


def lane_of(tenant: int) -> tuple[str, str]:
    return "default", Lane("t", (Ref("tenant:{owner}", f"tenant:{tenant}"),)).text


def ask(lanes: Lanes, **answer: Any) -> None:
    request = lanes.request(
        slots=1, ahead=0, rivals=([], []), yields=False, worker="w", lease=1, margin=1
    )
    lanes.heard(request, backends.ops.Grant(**answer))


def test_lanes_that_have_no_jobs_any_more_are_forgotten(lanes: Lanes) -> None:
    for tenant in range(10):
        at = lane_of(tenant)
        lanes.saw(backends.ops.Ready((), (at,)))
        ask(lanes, now=1, openings={at: HOUR}, costs={at: {"x": 2}})
        ask(lanes, empty=[lane_of(tenant + 1)])
    lanes.saw(backends.ops.Ready((), ()))
    kept = (lanes._asks, lanes._openings, lanes._costs, lanes._in_vain)
    assert [len(some) for some in kept] == [0, 0, 0, 0]


def test_a_lane_whose_jobs_others_hold_is_left_alone_for_a_moment(lanes: Lanes) -> None:
    at = lane_of(1)
    for _ in range(2):
        lanes.saw(backends.ops.Ready((), (at,)))
        assert lanes.open() == [at]
        ask(lanes, empty=[at])
    for _ in range(8):
        lanes.saw(backends.ops.Ready((), (at,)))
        ask(lanes, empty=[at])
    lanes.saw(backends.ops.Ready((), (at,)))
    assert lanes.open() == []
    lanes.saw(backends.ops.Ready((), ()))
    lanes.saw(backends.ops.Ready((), (at,)))
    assert lanes.open() == [at]


def test_a_lane_may_be_asked_for_ahead_of_its_opening_or_be_put_off_until_then(
    lanes: Lanes,
) -> None:
    at = lane_of(1)
    lanes.saw(backends.ops.Ready((), (at,)))
    request = lanes.request(
        slots=4, ahead=2, rivals=([], []), yields=False, worker="w", lease=1, margin=1
    )
    began = time.monotonic()
    lanes.heard(request, backends.ops.Grant(now=1, openings={at: 1 + HOUR}))
    assert 0.1 <= lanes._opens[at] - lanes.next_ask <= 0.4
    lanes._asks[at] = 0.0  # the time has come
    assert lanes.open() == [at]
    lanes.put_off()
    assert lanes.open() == []
    assert began <= lanes.next_ask - HOUR / SECOND <= began + SLACK
    lanes.saw(backends.ops.Ready((), ()))
    assert lanes._opens == {}


def test_a_lane_that_is_open_is_not_put_off(lanes: Lanes) -> None:
    at = lane_of(1)
    lanes.saw(backends.ops.Ready((), (at,)))
    lanes.put_off()
    assert lanes.open() == [at]
