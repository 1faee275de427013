"""Webhooks: an endpoint is told once how a job ended, however that came about."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
import standardwebhooks

import jobq
from jobq import webhooks
from jobq._worker.relay import LOOK_EVERY
from jobq.http.budget import Budget
from jobq.http.drive import drive_here
from jobq.testing import FrozenClock, adrain, drain
from tests.conformance.situations import sql
from tests.endpoints import Endpoint, endpoint

SECRET = webhooks.new_secret()
LOCAL = ("127.0.0.1", "::1")


@pytest.fixture
def shop() -> Iterator[Endpoint]:
    """The customer's endpoint."""
    with endpoint() as served:
        yield served


@pytest.fixture
def queue(
    url: str, router: jobq.Router, clock: FrozenClock, shop: Endpoint
) -> Iterator[jobq.Queue]:
    """A queue with the webhook `shop`, whose time is `clock`."""
    with jobq.Queue(url, router=router, clock=clock, webhooks={"shop": hook(shop)}) as queue:
        yield queue


@pytest.fixture(autouse=True)
def edit(router: jobq.Router) -> jobq.Handler[dict, dict]:
    @router.handler("edit", retry=jobq.Retry(max_attempts=1))
    async def edit(payload: dict, job: jobq.JobContext) -> dict:
        if "raise" in payload:
            raise ValueError(payload["raise"])
        return {"url": "https://cdn.example/1.png"}

    return edit


def hook(served: Endpoint, **options: Any) -> jobq.Webhook:
    values = {"url": served.url, "secret": SECRET, "allow": LOCAL, "timeout": 5.0, **options}
    return jobq.Webhook(**values)


def deliveries(queue: jobq.Queue) -> list[jobq.Job]:
    return [*queue.list(type="jobq.webhook").jobs]


# --- what is told -------------------------------------------------------------------------------


def test_an_endpoint_is_told_of_a_completed_job(queue, clock, shop):
    job = queue.enqueue("edit", {"n": 1}, webhook="shop", owner="ada")
    assert drain(queue) == 2
    [(path, headers, body)] = shop.requests
    assert path == "/hooks?from=jobq"
    assert headers["host"] == f"localhost:{shop.port}"
    assert headers["content-type"] == "application/json"
    received = webhooks.verify(headers, body, SECRET, now=clock.time)
    assert received.sent_at == clock.time
    told = queue.get(job.id)
    assert json.loads(body) == {
        "type": "job.completed",
        "timestamp": "2031-01-01T12:00:00.000Z",
        "data": told.to_dict(),
    }
    [delivery] = deliveries(queue)
    assert delivery.id == received.id
    assert (delivery.status, delivery.result, delivery.owner) == (
        "completed",
        {"status": 204},
        None,
    )
    assert delivery.metadata == {"webhook": "shop", "job": job.id}
    assert drain(queue) == 0


def test_what_is_sent_the_reference_library_accepts(url, router, shop):
    with jobq.Queue(url, router=router, webhooks={"shop": hook(shop)}) as queue:
        queue.enqueue("edit", {}, webhook="shop")
        drain(queue)
    [(_, headers, body)] = shop.requests
    event = standardwebhooks.Webhook(SECRET).verify(body, headers)
    assert event["type"] == "job.completed"


def test_a_failure_is_told_without_its_traceback(queue, shop):
    queue.enqueue("edit", {"raise": "no such photo"}, webhook="shop")
    drain(queue)
    [event] = shop.events
    assert event["type"] == "job.failed"
    assert event["data"]["error"] == "ValueError: no such photo"
    assert "Traceback" not in json.dumps(event)


def test_a_job_that_ends_outside_of_workers_is_told_of_too(queue, clock, shop):
    cancelled = queue.enqueue("edit", {}, webhook="shop", delay=60)
    queue.cancel(cancelled.id)
    by_hand = queue.enqueue("edit", {}, webhook="shop", delay=60)
    queue.set_status(by_hand.id, "completed", result={"by": "hand"})
    late = queue.enqueue(
        "edit", {}, webhook="shop", delay=120, expires_at=clock.time + timedelta(seconds=30)
    )
    clock.advance(31)
    drain(queue)
    drain(queue)
    told = {event["data"]["id"]: event["type"] for event in shop.events}
    assert told == {
        cancelled.id: "job.cancelled",
        by_hand.id: "job.completed",
        late.id: "job.failed",
    }


def test_jobs_without_a_webhook_are_told_to_nobody(queue, shop):
    queue.enqueue("edit", {})
    assert drain(queue) == 1
    assert shop.requests == []
    assert deliveries(queue) == []


def test_a_handler_may_have_a_webhook_for_all_its_jobs(queue, router, shop):
    @router.handler("report", webhook="shop")
    def report() -> None: ...

    job = queue.enqueue(report)
    outcomes = queue.enqueue_many([(report, None), ("report", None)])
    drain(queue)
    ids = {job.id, *(outcome.job.id for outcome in outcomes)}
    assert {event["data"]["id"] for event in shop.events} == ids


def test_a_job_whose_enqueuer_knew_nothing_has_its_handlers_webhook(url, queue, router, shop):
    with jobq.Queue(url, router=jobq.Router(), clock=queue._config.clock) as elsewhere:
        own = elsewhere.enqueue("edit", {}, webhook="shop")
        defaulted = elsewhere.enqueue("report")

    @router.handler("report", webhook="shop")
    def report() -> None: ...

    drain(queue)
    assert {event["data"]["id"] for event in shop.events} == {own.id, defaulted.id}


def test_a_job_that_is_run_again_is_told_of_again(queue, shop):
    job = queue.enqueue("edit", {"raise": "x"}, webhook="shop")
    drain(queue)
    queue.retry(job.id)
    drain(queue)
    assert [event["type"] for event in shop.events] == ["job.failed"] * 2
    assert len(set(shop.ids)) == 2


def test_an_outcome_in_the_handlers_own_transaction_is_told_too(url, queue, router, shop):
    @router.handler("commit")
    def commit(payload: dict, job: jobq.SyncJobContext) -> None:
        path = url.removeprefix("sqlite:///")
        with closing(psycopg.connect(url) if path == url else sqlite3.connect(path)) as connection:
            job.complete({"by": "handler"}, connection=connection)
            connection.commit()

    queue.enqueue("commit", {}, webhook="shop")
    drain(queue)
    [event] = shop.events
    assert event["data"]["result"] == {"by": "handler"}


def test_a_call_of_the_drive_endpoint_delivers(queue, shop):
    budget = Budget(seconds=5, max_jobs=10, concurrency=2)
    queue.enqueue("edit", {}, webhook="shop")
    drive_here(queue, budget)
    drive_here(queue, budget)
    assert len(shop.requests) == 1


def test_a_job_that_no_worker_knows_the_webhook_of_waits_for_one(url, queue, router, shop):
    with jobq.Queue(url, router=router, clock=queue._config.clock) as elsewhere:
        elsewhere.enqueue("edit", {}, webhook="bank")
    other = jobq.Queue(url, router=router, clock=queue._config.clock, webhooks={"bank": hook(shop)})
    drain(queue)
    assert shop.requests == []
    with other:
        drain(other)
    assert len(shop.requests) == 1


async def test_a_running_worker_delivers_at_once(url, router, shop):
    async with jobq.AsyncQueue(url, router=router, webhooks={"shop": hook(shop)}) as queue:
        worker = jobq.Worker(queue)
        async with worker.running():
            await queue.enqueue("edit", {}, webhook="shop")
            async with asyncio.timeout(LOOK_EVERY * 0.7):  # before it would look by itself
                while not shop.requests:
                    await asyncio.sleep(0.01)


# --- deliveries ---------------------------------------------------------------------------------


async def test_a_job_whose_row_somebody_holds_is_told_of_when_it_is_free(postgres, router, shop):
    async with jobq.AsyncQueue(postgres, router=router, webhooks={"shop": hook(shop)}) as queue:
        job = await queue.enqueue("edit", {}, webhook="shop")
        await queue.cancel(job.id)
        with psycopg.connect(postgres) as other:
            other.execute("SELECT id FROM jobq_job FOR UPDATE")
            async with asyncio.timeout(10):  # it would look again and again, also at its end
                assert await jobq.Worker(queue).run_once() == 0
        assert await adrain(queue) == 1
    assert len(shop.requests) == 1


def test_a_delivery_that_fails_follows_the_published_schedule(sqlite, router, clock, shop):
    minutes = (5, 30, 2 * 60, 5 * 60, 10 * 60, 14 * 60, 20 * 60, 24 * 60)
    rests = [5, *(60 * count for count in minutes)]
    shop.answers = [500, 404, 302, 503, 400, 429, 502, 301, 500, 500]
    with jobq.Queue(sqlite, router=router, clock=clock, webhooks={"shop": hook(shop)}) as queue:
        queue.enqueue("edit", {}, webhook="shop")
        drain(queue, with_scheduled=True)
        [delivery] = deliveries(queue)
    times = [int(headers["webhook-timestamp"]) for _, headers, _ in shop.requests]
    rested = [later - earlier for earlier, later in pairwise(times)]
    assert len(rested) == len(rests)
    assert all(rest - 1 <= was <= rest * 1.1 + 1 for rest, was in zip(rests, rested, strict=True))
    assert (delivery.status, delivery.attempts) == ("failed", 10)
    assert delivery.error == "DeliveryFailed: webhook 'shop' answered 500"


def test_a_repeated_delivery_has_the_same_id_and_body_and_a_new_time(queue, clock, shop):
    shop.answers = [500, 500]
    queue.enqueue("edit", {"n": 2**53}, webhook="shop")
    drain(queue, with_scheduled=True)
    assert len(shop.requests) == 3
    assert len(set(shop.ids)) == len({body for _, _, body in shop.requests}) == 1
    times = [int(headers["webhook-timestamp"]) for _, headers, _ in shop.requests]
    assert times == sorted(set(times))
    for (_, headers, body), at in zip(shop.requests, times, strict=True):
        assert webhooks.verify(headers, body, SECRET, now=at).id == shop.ids[0]
    assert [job.status for job in deliveries(queue)] == ["completed"]


@pytest.mark.parametrize("answer, rest", [("3600", 3600), ("1", 5), ("999999999", 86_400)])
def test_an_endpoint_may_ask_for_a_longer_rest(queue, clock, shop, answer, rest):
    shop.answers = [(503, {"retry-after": answer})]
    queue.enqueue("edit", {}, webhook="shop")
    drain(queue)
    [delivery] = deliveries(queue)
    assert rest <= (delivery.run_at - clock.time).total_seconds() <= rest * 1.1
    assert delivery.error == "RetryAfter: webhook 'shop' answered 503"


def test_no_redirect_is_followed(queue, shop):
    with endpoint() as elsewhere:
        shop.answers = [(302, {"location": elsewhere.url}), (307, {"location": elsewhere.url})]
        queue.enqueue("edit", {}, webhook="shop")
        drain(queue, with_scheduled=True)
        assert elsewhere.requests == []
    assert len(shop.requests) == 3


def test_an_endpoint_that_answers_410_is_sent_nothing_more(queue, clock, shop):
    shop.answers = [410]
    queue.enqueue("edit", {}, webhook="shop")
    drain(queue)
    queue.enqueue("edit", {}, webhook="shop")
    drain(queue, with_scheduled=True)
    assert len(shop.requests) == 1
    last, first = deliveries(queue)
    assert (first.status, first.error_code) == ("failed", "webhook_gone")
    assert last.status == "cancelled"
    assert "jobq webhooks enable" in last.error
    [info] = queue.webhooks()
    assert (info.name, info.known, info.disabled_at) == ("shop", True, clock.time)
    assert info.reason == "webhook 'shop' answered 410"

    queue.enable_webhook("shop")
    assert queue.webhooks() == [jobq.WebhookInfo(name="shop", known=True)]
    queue.retry(last.id)
    drain(queue)
    assert shop.ids == [first.id, last.id]
    with pytest.raises(jobq.OptionError, match="not disabled"):
        queue.enable_webhook("shop")


def test_another_url_of_the_same_name_is_another_endpoint(url, queue, router, shop):
    shop.answers = [410]
    queue.enqueue("edit", {}, webhook="shop")
    drain(queue)
    moved = hook(shop, url=f"http://127.0.0.1:{shop.port}/new")
    clock = queue._config.clock
    with jobq.Queue(url, router=router, clock=clock, webhooks={"shop": moved}) as anew:
        anew.enqueue("edit", {}, webhook="shop")
        drain(anew)
    assert [path for path, _, _ in shop.requests] == ["/hooks?from=jobq", "/new"]


def test_a_silent_endpoint_costs_a_bounded_time(url, router, clock, shop):
    hooks = {"shop": hook(shop, timeout=0.2)}
    shop.silent.clear()
    with jobq.Queue(url, router=router, clock=clock, webhooks=hooks) as queue:
        queue.enqueue("edit", {}, webhook="shop")
        drain(queue)
        [delivery] = deliveries(queue)
    assert delivery.error == "DeliveryFailed: webhook 'shop': no answer came within 0.2 s"


def test_a_url_that_leads_inside_is_called_never(url, router, clock, shop):
    hooks = {"shop": hook(shop, allow=("10.0.0.0/8",))}
    with jobq.Queue(url, router=router, clock=clock, webhooks=hooks) as queue:
        queue.enqueue("edit", {}, webhook="shop")
        drain(queue, with_scheduled=True)
        [delivery] = deliveries(queue)
    assert shop.requests == []
    assert (delivery.status, delivery.error_code) == ("failed", "webhook_refused")
    assert "localhost leads to" in delivery.error


@pytest.mark.parametrize("is_async", [True, False])
def test_endpoints_may_be_found_by_a_function(url, router, clock, shop, is_async):
    asked = []

    def find(name: str) -> jobq.Webhook | None:
        asked.append(name)
        return hook(shop) if name.startswith("customer-") else None

    async def afind(name: str) -> jobq.Webhook | None:
        return find(name)

    found = afind if is_async else find
    with jobq.Queue(url, router=router, clock=clock, webhooks=found) as queue:
        queue.enqueue("edit", {}, webhook="customer-7")
        unknown = queue.enqueue("edit", {}, webhook="nobody")
        drain(queue)
        [failed] = [job for job in deliveries(queue) if job.metadata["job"] == unknown.id]
    assert sorted(asked) == ["customer-7", "nobody"]
    assert len(shop.requests) == 1
    assert "no webhook 'nobody' is known here" in failed.error


async def test_the_asynchronous_face_is_the_same(queue, shop):
    shop.answers = [410]
    async with queue.aio as aqueue:
        await aqueue.enqueue("edit", {}, webhook="shop")
        await adrain(aqueue)
        [info] = await aqueue.webhooks()
        assert info.disabled_at is not None
        await aqueue.enable_webhook("shop")
        [info] = await aqueue.webhooks()
        assert info.disabled_at is None


def test_middleware_of_the_app_is_not_around_deliveries(queue, router, shop):
    seen = []

    @router.middleware
    async def watch(job: jobq.JobContext, call_next: Any) -> Any:
        seen.append(job.type)
        return await call_next()

    queue.enqueue("edit", {}, webhook="shop")
    drain(queue)
    assert seen == ["edit"]
    assert len(shop.requests) == 1


# --- bad input ----------------------------------------------------------------------------------


def test_an_unknown_webhook_is_an_error_at_enqueue(queue, router):
    with pytest.raises(jobq.OptionError, match="'shop'"):
        queue.enqueue("edit", {}, webhook="shpo")
    with pytest.raises(jobq.OptionError, match="webhook must be text"):
        queue.enqueue("edit", {}, webhook=7)

    @router.handler("report", webhook="shpo")
    def report() -> None: ...

    with pytest.raises(jobq.OptionError, match="shpo"):
        queue.enqueue(report)


def test_a_job_that_vanishes_when_it_completes_cannot_be_told_of(queue, router):
    with pytest.raises(jobq.OptionError, match="keep=False"):
        queue.enqueue("edit", {}, webhook="shop", keep=False)
    with pytest.raises(jobq.ConfigurationError, match="keep=False"):
        router.handler("report", keep=False, webhook="shop")


def test_deliveries_cannot_be_forged(queue, router):
    with pytest.raises(jobq.OptionError, match="jobq's own"):
        queue.enqueue("jobq.webhook", {"webhook": "shop", "event": {}})
    [outcome] = queue.enqueue_many([("jobq.webhook", {})])
    assert isinstance(outcome.error, jobq.OptionError)
    with pytest.raises(jobq.ConfigurationError, match="jobq's"):
        router.handler("jobq.webhook")


@pytest.mark.parametrize("given", [7, ["shop"], {"shop": "https://example.com"}, {"": None}])
def test_what_are_no_webhooks_is_an_error_at_once(given):
    with pytest.raises(jobq.ConfigurationError, match="webhooks"):
        jobq.Queue("sqlite:///never.db", webhooks=given)


def test_no_secret_and_no_url_is_stored(queue, shop):
    shop.answers = [500, 410]
    queue.enqueue("edit", {}, webhook="shop")
    drain(queue, with_scheduled=True)
    tables = "jobq_job jobq_attempt jobq_webhook"
    stored = "".join(str(sql(queue, f"SELECT * FROM {name}")) for name in tables.split())
    assert "410" in stored
    assert "whsec_" not in stored
    assert SECRET.removeprefix("whsec_") not in stored
    assert str(shop.port) not in stored
