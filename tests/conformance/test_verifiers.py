"""Work that an earlier attempt may have done is not done again before the verifier has spoken."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import jobq
from jobq import backends
from jobq.testing import FrozenClock, drain

MINUTE = timedelta(minutes=1)


def _crash(queue: jobq.Queue, clock: FrozenClock) -> None:
    """A worker takes the job and is never heard of again."""
    options = {"queues": ["default"], "types": ["t"], "slots": 1, "worker": "dead"}
    queue._store().run(backends.ops.claim, **options, lease=1_000_000, margin=0)
    clock.advance(MINUTE)


@pytest.mark.parametrize(
    "trouble", [ConnectionRefusedError("not now"), jobq.RateLimited(5), ValueError("a bug")]
)
def test_a_verifier_that_fails_is_asked_again(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock, trouble: Exception
) -> None:
    told: list[str] = []

    def verify(payload: None) -> Any:
        told.append("asked")
        if len(told) == 1:
            raise trouble
        return "found"

    @router.handler("t", on_ambiguous="verify", verify=verify)
    def handler(payload: None) -> None:
        told.append("done again")

    id = frozen.enqueue(handler).id
    _crash(frozen, clock)
    drain(frozen, with_scheduled=True)
    assert told == ["asked", "asked"]
    assert frozen.get(id).result == "found"


def test_refusals_go_on_counting_over_a_release(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    raising = [jobq.RateLimited(5), ConnectionRefusedError("not now"), jobq.RateLimited(5)]

    @router.handler("t", retry=jobq.Retry(max_rate_limit_wait=120))
    def handler(payload: None) -> None:
        raise raising.pop(0)

    id = frozen.enqueue(handler).id
    for status in ("rate_limited", "pending", "failed"):
        assert drain(frozen) == 1
        assert frozen.get(id).status == status
        clock.advance(MINUTE)
    assert frozen.get(id).error_code == "rate_limit_timeout"
