"""`jobq schedules`: see them, and pause them."""

from __future__ import annotations

import json
from typing import Any

import pytest

import jobq
from jobq.testing import drain
from tests.cli.conftest import Run


@pytest.fixture
def nightly(queue: jobq.Queue, router: jobq.Router) -> None:
    """A schedule that a worker has stored."""

    @router.cron("0 3 * * *", tz="Europe/Berlin", overlap=False)
    @router.handler("report")
    async def report() -> None: ...

    drain(queue)


def shown(on: Run) -> dict[str, Any]:
    code, out, err = on("schedules", "--json")
    assert (code, err) == (0, "")
    [schedule] = json.loads(out)
    return dict(schedule)


def test_without_schedules_it_says_so(on: Run) -> None:
    said = "no schedules; workers store those that their code declares\n"
    assert on("schedules") == (0, said, "")


def test_the_schedules_are_shown_with_their_next_tick(on: Run, nightly: None) -> None:
    code, out, _ = on("schedules")
    assert code == 0
    head, row = out.splitlines()
    assert head.split()[:3] == ["SCHEDULE", "TYPE", "EXPRESSION"]
    assert row.split()[:8] == ["report", "report", "0", "3", "*", "*", "*", "Europe/Berlin"]
    assert row.split()[-1] == "on"
    found = shown(on)
    assert found.pop("nextTick").endswith(":00:00.000Z")
    assert found.pop("seenAt") is not None
    assert found == {
        "name": "report",
        "type": "report",
        "expression": "0 3 * * *",
        "tz": "Europe/Berlin",
        "catchUp": "one",
        "overlap": False,
        "paused": False,
        "declared": True,
        "lastTick": None,
        "lastJobId": None,
        "lastStatus": None,
    }


def test_a_schedule_can_be_paused_and_resumed(on: Run, nightly: None) -> None:
    assert on("schedules", "pause", "report") == (0, "paused report\n", "")
    assert on("schedules").out.splitlines()[1].endswith("  -          -          -         paused")
    assert shown(on)["paused"]
    resumed = on("schedules", "resume", "report", "--json")
    assert json.loads(resumed.out) == {"name": "report", "paused": False}
    assert not shown(on)["paused"]


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_an_unknown_schedule_is_refused(on: Run, nightly: None, action: str) -> None:
    code, _, err = on("schedules", action, "nope")
    assert (code, "there is no schedule 'nope'" in err) == (2, True)
