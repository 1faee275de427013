"""What jobq says was spent is what the provider bills, to the micro-dollar."""

from __future__ import annotations

import json
from decimal import Decimal

import httpx
import pytest

import jobq
from examples.fakegemini import FakeGemini
from jobq.cli import main
from jobq.testing import drain
from tests.examples.asking import client, content, picture

IMAGE = Decimal("0.039")
INPUT, OUTPUT = Decimal("0.000001"), Decimal("0.000004")
BECAME = (
    "ok",
    "reset",
    "error",
    "no_image",
    "ok",
    "overloaded",
    "refused",
    "reset",
    "rate_limited",
)


@pytest.fixture
def provider(router):
    """A fake provider, and handlers that pay for what they ask of it."""
    with FakeGemini() as fake, client(fake) as http:

        @router.handler("write")
        async def write(payload: dict, job: jobq.JobContext) -> None:
            answer = content(http, payload["prompt"]).raise_for_status().json()
            usage = answer["usageMetadata"]
            units = {"input": usage["promptTokenCount"], "output": usage["candidatesTokenCount"]}
            price = units["input"] * INPUT + units["output"] * OUTPUT
            id = answer["responseId"]
            await job.spend(usd=price, provider="gemini", units=units, request_id=id)

        @router.handler("paint", retry=jobq.Retry(max_attempts=9, backoff=jobq.Fixed(0)))
        def paint(payload: dict, job: jobq.SyncJobContext) -> None:
            try:
                answer = picture(http, payload["prompt"])
            except httpx.ReadError:  # it may have been done, and is billed then
                job.spend(usd=IMAGE, provider="gemini", request_id=f"{job.id}:{job.attempt}")
                raise
            parts = answer.raise_for_status().json()["candidates"][0].get("content", {})
            images = [part for part in parts.get("parts", ()) if "inlineData" in part]
            id = answer.json()["responseId"]
            job.spend(usd=len(images) * IMAGE, provider="gemini", request_id=id)
            if not images:
                raise ValueError("no image")

        yield fake


def test_the_ledgers_bill_is_what_jobq_spend_shows(queue, router, url, provider, capsys):
    provider.script(*BECAME, prompt="door")
    jobs = [queue.enqueue("paint", {"prompt": f"door {n}"}, owner="ada") for n in range(3)]
    jobs += [queue.enqueue("write", {"prompt": "a poem" * n}, owner="bob") for n in range(1, 8)]
    drain(queue)
    while [job for job in jobs if not queue.get(job.id).status.finished]:
        for job in jobs:
            if not queue.get(job.id).status.finished:
                queue.reschedule(job.id, delay=0)
        drain(queue)
    assert {str(queue.get(job.id).status) for job in jobs} == {"completed"}
    billed = provider.ledger.billed()
    assert provider.ledger.outcomes()["reset"] == 2
    assert sum(total.micros for total in queue.spend()) == billed
    assert sum(total.retried_micros for total in queue.spend()) > 0
    for by in ("type", "owner", "day", "job"):
        assert main(["spend", "--by", by, "--url", url, "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert sum(Decimal(one["usd"]) for one in shown) == Decimal(billed).scaleb(-6)
