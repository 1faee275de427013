"""`jobq spend`: what was spent, by anything."""

from __future__ import annotations

import json

import pytest

import jobq
from jobq.testing import drain
from tests.cli.conftest import Run


@pytest.fixture
def job(queue: jobq.Queue, router: jobq.Router) -> jobq.Job:
    """A job that paid for two images and a text."""

    @router.handler("paint")
    async def paint(payload: dict, job: jobq.JobContext) -> None:
        for n in range(2):
            await job.spend(usd="0.039", provider="gemini", model="image", request_id=f"r{n}")
        await job.spend(usd="0.000812", provider="openai")

    job = queue.enqueue("paint", {}, owner="ada")
    drain(queue)
    return job


def test_where_nothing_was_spent_it_says_so(on: Run) -> None:
    said = "nothing was spent; handlers record what they spend with job.spend()\n"
    assert on("spend") == (0, said, "")
    assert on("spend", "--json").out == "[]\n"


def test_sums_are_shown_by_group_and_in_all(on: Run, job: jobq.Job) -> None:
    code, out, _ = on("spend", "--by", "provider")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["PROVIDER", "USD", "REQUESTS", "USD", "IN", "RETRIES"],
        ["gemini", "0.078000", "2", "0.000000"],
        ["openai", "0.000812", "1", "0.000000"],
        ["total", "0.078812", "3", "0.000000"],
    ]


def test_json_has_exact_amounts(on: Run, job: jobq.Job) -> None:
    [found] = json.loads(on("spend", "--by", "owner", "--type", "paint", "--json").out)
    assert found == {
        "key": "ada",
        "usd": "0.078812",
        "micros": 78812,
        "requests": 3,
        "retriedUsd": "0.000000",
    }


def test_a_part_of_it_can_be_asked_for(on: Run, job: jobq.Job) -> None:
    assert on("spend", "--owner", "bob").out.startswith("nothing")
    assert on("spend", "--since", "2099-01-01T00:00:00Z").out.startswith("nothing")
    assert on("spend", "--until", "2020-01-01T00:00:00Z").out.startswith("nothing")
    one = on("spend", "--by", "day", "--job", job.id, "--tz", "Asia/Tokyo", "--json")
    assert [total["micros"] for total in json.loads(one.out)] == [78812]


def test_what_cannot_be_asked_is_refused(on: Run) -> None:
    assert on("spend", "--by", "colour").code == 2
    assert on("spend", "--tz", "Mars").code == 2
    assert on("spend", "--since", "yesterday").code == 2
