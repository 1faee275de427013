"""What an owner may have is declared once, and checked there."""

from __future__ import annotations

import pytest

import jobq
from jobq._limits import Concurrency
from jobq._owners import QueueLimits


@pytest.mark.parametrize(
    "options",
    [{}, {"queued": 0}, {"running": -1}, {"running": 1.5}, {"queued": True}, {"queued": "many"}],
)
def test_numbers_that_cannot_be_are_refused_when_they_are_declared(options):
    with pytest.raises(jobq.ConfigurationError, match="PerOwner"):
        jobq.PerOwner(**options)


@pytest.mark.parametrize("per_owner", [2, "2", {"running": 2}])
def test_what_is_no_declaration_is_refused_by_handlers_and_queues(per_owner):
    with pytest.raises(jobq.ConfigurationError, match="must be a PerOwner"):
        jobq.Router().handler("work", per_owner=per_owner)
    with pytest.raises(jobq.ConfigurationError, match="must be a PerOwner"):
        jobq.Queue("sqlite:///jobs.db", per_owner=per_owner)


def test_running_jobs_are_limited_by_type_at_the_handler_and_in_all_at_the_queue():
    owned = jobq.PerOwner(running=2)
    assert [limit.key for limit in owned.places()] == ["owner:{owner}"]
    assert [limit.key for limit in owned.places("a{b}")] == ["owner:{owner}:a{{b}}"]
    assert jobq.PerOwner(queued=2).places("work") == ()


def test_limits_of_every_queue_stand_beside_those_of_some():
    places, own = jobq.PerOwner(running=2).places(), (Concurrency("gpu", 1),)
    limits = QueueLimits({"slow": own}, places)
    assert (limits.get("slow"), limits.get("fast")) == ((*own, *places), places)
    assert bool(limits)
    assert not QueueLimits()
    assert limits.values() == [own, places]
