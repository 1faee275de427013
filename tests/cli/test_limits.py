"""`jobq limits`: see them, and change them while workers run."""

from __future__ import annotations

import json
from typing import Any

import pytest

import jobq
from jobq import Concurrency, DailyQuota, RateLimit
from jobq.testing import drain
from tests.cli.conftest import Run


@pytest.fixture
def limited(queue: jobq.Queue, router: jobq.Router) -> list[jobq.Job]:
    """Two jobs of one owner, of which the limits have let one start."""
    limits = [
        RateLimit("gemini", 60, per=60),
        RateLimit("tenant:{owner}", 5, per=60),
        DailyQuota("rpd", 100),
        Concurrency("gpu", 2),
    ]

    @router.handler("image", limits=limits)
    async def image() -> None: ...

    jobs = [queue.enqueue(image, owner="ada") for _ in range(2)]
    assert drain(queue, max_jobs=1) == 1
    return jobs


def table(on: Run, *args: str) -> dict[str, dict[str, Any]]:
    code, out, err = on("limits", *args, "--json")
    assert (code, err) == (0, "")
    return {row["key"]: row for row in json.loads(out)}


def test_without_limits_it_says_so(on: Run) -> None:
    assert on("limits") == (0, "no limits; workers store those that their handlers declare\n", "")


def test_the_limits_are_shown_with_what_is_used_and_who_waits(
    on: Run, limited: list[jobq.Job]
) -> None:
    code, out, _ = on("limits")
    assert code == 0
    head, *rows = (line.split() for line in out.splitlines())
    assert head[:2] == ["LIMIT", "ALLOWS"]
    assert [row[0] for row in rows] == ["gemini", "gpu", "rpd", "tenant:ada", "tenant:{owner}"]
    shown = table(on)
    assert shown["gemini"]["waiting"] == shown["tenant:ada"]["waiting"] == 1
    assert shown["rpd"]["used"] == 1
    assert shown["gpu"] | {"nextStart": None} == {
        "key": "gpu",
        "kind": "concurrency",
        "description": "2 at a time",
        "n": 2,
        "used": 0,
        "free": 2,
        "waiting": 1,
        "nextStart": None,
        "blockedUntil": None,
        "paused": False,
        "reason": None,
        "overridden": False,
        "started": 1,
        "refused": 0,
    }


def test_set_changes_numbers_and_reset_goes_back(
    on: Run, limited: list[jobq.Job], queue: jobq.Queue
) -> None:
    assert on("limits", "set", "gemini", "--n", "30") == (
        0,
        "gemini: 30 in 60 s: 29.7/min, 1 at once\n",
        "",
    )
    assert table(on)["gemini"]["overridden"]
    assert on("limits", "reset", "gemini") == (0, "reset gemini\n", "")
    drain(queue)  # a worker says again what the code declares
    assert (table(on)["gemini"]["n"], table(on)["gemini"]["overridden"]) == (60, False)


def test_pause_and_resume_close_and_open_a_limit(on: Run, limited: list[jobq.Job]) -> None:
    assert on("limits", "pause", "gpu", "--reason", "repairs") == (0, "paused gpu\n", "")
    assert "paused: repairs" in on("limits").out
    assert on("limits", "resume", "gpu", "--json").out == (
        '{\n  "key": "gpu",\n  "paused": false,\n  "until": null\n}\n'
    )
    until = "2099-01-31T12:00:00Z"
    assert on("limits", "pause", "gpu", "--until", until).out == (
        "paused gpu until 2099-01-31 12:00:00Z\n"
    )
    assert "closed until 2099-01-31 12:00:00Z" in on("limits").out


@pytest.mark.parametrize(
    "args, reason",
    [
        (("set", "nope", "--n", "1"), "there is no limit 'nope'; there are gemini, gpu"),
        (("pause", "nope"), "there is no limit 'nope'"),
        (("resume", "nope"), "there is no limit 'nope'"),
        (("reset", "nope"), "there is no limit 'nope'"),
        (("set", "gpu", "--per", "4"), "limit 'gpu': it has no per"),
        (("set", "gpu"), "limit 'gpu': give --n, --per or --max-cost"),
        (("set", "gemini", "--max-cost", "61"), "max_cost=61 is more than the whole limit of 60"),
    ],
)
def test_what_cannot_be_done_is_refused(
    on: Run, limited: list[jobq.Job], args: tuple[str, ...], reason: str
) -> None:
    code, _, err = on("limits", *args)
    assert code == 2
    assert reason in err


def test_show_and_why_name_the_limit_that_a_job_waits_for(on: Run, limited: list[jobq.Job]) -> None:
    _, waiting = limited
    shown = on("show", waiting.id).out
    assert "waits for" in shown
    assert "limit tenant:ada until" in shown
