"""Failures and traces by Sentry's own SDK, whose transport keeps what it would send."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

import jobq
from jobq.contrib.otel import OpenTelemetry
from jobq.contrib.sentry import MOST_HELD, Sentry
from jobq.observe import Attempted, Attempting
from jobq.testing import FrozenClock, drain

Sent = list[dict[str, Any]]


class Kept(Transport):
    """What would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.items: Sent = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            payload: Any = item.payload.json
            self.items.append({"kind": item.type, **payload})

    def events(self) -> Sent:
        return [item for item in self.items if item["kind"] == "event"]

    def transactions(self, name: str) -> Sent:
        return [item for item in self.items if item.get("transaction") == name and "spans" in item]


@pytest.fixture
def sentry() -> Iterator[Kept]:
    kept = Kept()
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        transport=kept,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    yield kept
    sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture
def queue(sqlite: str, router: jobq.Router, sentry: Kept) -> Iterator[jobq.Queue]:
    with jobq.Queue(sqlite, router=router, clock=FrozenClock(), observers=[Sentry()]) as queue:
        yield queue


def work_off(queue: jobq.Queue) -> None:
    drain(queue, with_scheduled=True)


def test_only_the_failure_that_a_job_ends_with_is_told(
    queue: jobq.Queue, router: jobq.Router, sentry: Kept
) -> None:
    @router.handler("draw", retry=jobq.Retry(max_attempts=3))
    async def draw(payload: dict, job: jobq.JobContext) -> None:
        raise ValueError(f"attempt {job.attempt}: token=abcdef123456 was refused")

    job = queue.enqueue(draw, {"prompt": "a red door"}, queue="images")
    work_off(queue)
    [event] = sentry.events()
    [raised] = event["exception"]["values"]
    assert (raised["type"], raised["mechanism"]["handled"]) == ("ValueError", False)
    assert raised["value"].startswith("attempt 3: token=")
    assert "abcdef123456" not in raised["value"]
    frames = raised["stacktrace"]["frames"]
    assert frames[-1]["function"] == "draw"
    ours = [frame for frame in frames if frame["module"].startswith("jobq.")]
    assert ours
    assert "red door" not in str([{**event, "exception": None}, ours])
    assert event["tags"] == {
        "jobq.type": "draw",
        "jobq.queue": "images",
        "jobq.error_code": "ValueError",
    }
    worker = event["contexts"]["jobq"]["worker"]
    assert event["contexts"]["jobq"] == {"job": job.id, "attempt": 3, "worker": worker}
    last = sentry.transactions("draw")[-1]["contexts"]["trace"]
    assert event["contexts"]["trace"]["span_id"] == last["span_id"]


def test_every_attempt_is_told_where_that_is_asked_for(
    sqlite: str, router: jobq.Router, sentry: Kept
) -> None:
    @router.handler("draw", retry=jobq.Retry(max_attempts=3))
    def draw(payload: dict) -> None:
        raise ValueError("no")

    watching = [Sentry(every_attempt=True)]
    with jobq.Queue(sqlite, router=router, clock=FrozenClock(), observers=watching) as queue:
        queue.enqueue(draw, {})
        work_off(queue)
    told = [event["contexts"]["jobq"]["attempt"] for event in sentry.events()]
    assert told == [1, 2, 3]


@pytest.mark.parametrize(
    "raised", [jobq.Snooze(60), jobq.RetryAfter(60), jobq.RateLimited(60), jobq.Cancel("gone")]
)
def test_what_a_handler_only_wishes_is_no_failure(
    sqlite: str, router: jobq.Router, sentry: Kept, raised: jobq.Signal
) -> None:
    @router.handler("draw")
    async def draw(payload: dict) -> None:
        raise raised

    with jobq.Queue(sqlite, router=router, observers=[Sentry(every_attempt=True)]) as queue:
        queue.enqueue(draw, {})
        drain(queue)
    assert sentry.events() == []
    [transaction] = sentry.transactions("draw")
    assert transaction["contexts"]["trace"]["status"] == "ok"


def test_a_job_that_parks_is_no_failure(queue: jobq.Queue, sentry: Kept, parks: jobq.Job) -> None:
    drain(queue)
    assert queue.get(parks).status == "waiting"
    assert sentry.events() == []
    assert sentry.transactions("draw")[0]["contexts"]["trace"]["status"] == "ok"


def test_a_permanent_failure_is_one(queue: jobq.Queue, router: jobq.Router, sentry: Kept) -> None:
    @router.handler("draw")
    async def draw(payload: dict) -> None:
        raise jobq.Permanent("unsafe_prompt", "the provider refused the prompt")

    queue.enqueue(draw, {})
    work_off(queue)
    [event] = sentry.events()
    assert event["tags"]["jobq.error_code"] == "unsafe_prompt"
    assert sentry.transactions("draw")[0]["contexts"]["trace"]["status"] == "internal_error"


def test_a_job_that_fails_without_an_exception_is_told_by_its_code(
    queue: jobq.Queue, router: jobq.Router, sentry: Kept
) -> None:
    @router.handler("draw")
    async def draw(payload: dict) -> set[int]:
        return {1}  # no JSON

    job = queue.enqueue(draw, {})
    work_off(queue)
    assert queue.get(job).error_code == "result_unstorable"
    [event] = sentry.events()
    assert event["message"].startswith("draw failed: result: {1} is a set")
    assert event["fingerprint"] == ["jobq", "draw", "result_unstorable"]
    assert event["contexts"]["jobq"]["job"] == job.id


def test_a_wish_that_uses_up_the_last_attempt_is_what_the_job_failed_with(
    queue: jobq.Queue, router: jobq.Router, sentry: Kept
) -> None:
    @router.handler("draw", retry=jobq.Retry(max_attempts=1))
    async def draw(payload: dict) -> None:
        raise jobq.RetryAfter(60, "still scanning")

    queue.enqueue(draw, {})
    work_off(queue)
    assert "still scanning" in sentry.events()[0]["exception"]["values"][0]["value"]


def test_a_timeout_says_what_it_is_and_where_it_struck(
    queue: jobq.Queue, router: jobq.Router, sentry: Kept
) -> None:
    @router.handler("draw", timeout=0.05, retry=jobq.Retry(max_attempts=1))
    async def draw(payload: dict) -> None:
        await asyncio.Event().wait()

    queue.enqueue(draw, {})
    drain(queue)
    [event] = sentry.events()
    [raised] = event["exception"]["values"]
    assert raised["value"] == "it took longer than its timeout of 0.05 s"
    assert "draw" in [frame["function"] for frame in raised["stacktrace"]["frames"]]
    assert event["fingerprint"] == ["jobq", "draw", "timeout"]


def test_a_job_that_is_cancelled_is_no_failure(
    queue: jobq.Queue, sentry: Kept, is_cancelled: jobq.Job
) -> None:
    drain(queue)
    assert queue.get(is_cancelled).status == "cancelled"
    assert sentry.events() == []
    assert sentry.transactions("draw")[0]["contexts"]["trace"]["status"] == "ok"


def test_a_trace_goes_from_the_request_through_the_job_into_what_its_handler_does(
    queue: jobq.Queue, router: jobq.Router, sentry: Kept
) -> None:
    @router.handler("draw")
    def draw(payload: dict) -> None:
        with sentry_sdk.start_span(op="http.client", name="ask the provider"):
            pass

    with sentry_sdk.start_transaction(op="http.server", name="POST /jobs"):
        job = queue.enqueue(draw, {}, queue="images", metadata={"tenant": "t1"})
    work_off(queue)
    [request], [process] = sentry.transactions("POST /jobs"), sentry.transactions("draw")
    [publish] = request["spans"]
    about = process["contexts"]["trace"]
    assert about["trace_id"] == request["contexts"]["trace"]["trace_id"]
    assert about["parent_span_id"] == publish["span_id"]
    assert (publish["op"], about["op"]) == ("queue.publish", "queue.process")
    assert [span["description"] for span in process["spans"]] == ["ask the provider"]
    for data in (publish["data"], about["data"]):
        assert data["messaging.message.id"] == job.id
        assert data["messaging.destination.name"] == "images"
    assert about["data"]["messaging.message.retry.count"] == 0
    assert about["data"]["messaging.message.receive.latency"] == 0
    assert set(queue.get(job.id).metadata) == {"tenant", "sentry-trace", "baggage"}


def test_opentelemetrys_baggage_is_carried_beside(
    sqlite: str, router: jobq.Router, sentry: Kept
) -> None:
    from opentelemetry import baggage, context

    token = context.attach(baggage.set_baggage("tenant", "t1"))
    try:
        with (
            jobq.Queue(sqlite, router=router, observers=[OpenTelemetry(), Sentry()]) as queue,
            sentry_sdk.start_transaction(op="http.server", name="POST /jobs"),
        ):
            carried = queue.enqueue("t", {}).metadata["baggage"]
    finally:
        context.detach(token)
    assert carried.startswith("tenant=t1,sentry-trace_id=")


def test_a_batch_whose_call_fails_is_told_once(
    queue: jobq.Queue, router: jobq.Router, sentry: Kept
) -> None:
    @router.handler("embed", batch=10, retry=jobq.Retry(max_attempts=1))
    async def embed(payloads: list[dict]) -> None:
        raise ValueError("no")

    jobs = queue.enqueue_many([("embed", {"n": n}) for n in range(3)])
    work_off(queue)
    [event] = sentry.events()
    assert sorted(event["contexts"]["jobq"]["jobs"]) == sorted(job.id for job in jobs)
    [process] = sentry.transactions("embed")
    assert process["contexts"]["trace"]["data"]["messaging.batch.message_count"] == 3


def test_jobs_at_the_same_time_do_not_share_what_handlers_tell_sentry(
    queue: jobq.Queue, router: jobq.Router, sentry: Kept
) -> None:
    meeting = asyncio.Event()

    @router.handler("draw", retry=jobq.Retry(max_attempts=1))
    async def draw(payload: dict) -> None:
        sentry_sdk.set_tag("n", payload["n"])
        sentry_sdk.add_breadcrumb(message=f"began {payload['n']}")
        if payload["n"] == 1:
            meeting.set()
        await asyncio.wait_for(meeting.wait(), 20)
        raise ValueError("no")

    for n in range(2):
        queue.enqueue(draw, {"n": n})
    drain(queue, concurrency=2)
    told = {
        event["tags"]["n"]: [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
        for event in sentry.events()
    }
    assert told == {0: ["began 0"], 1: ["began 1"]}


def test_a_job_is_not_in_the_name_of_a_user_whose_request_runs_it(
    queue: jobq.Queue, router: jobq.Router, sentry: Kept
) -> None:
    @router.handler("draw", retry=jobq.Retry(max_attempts=1))
    async def draw(payload: dict) -> None:
        raise ValueError("no")

    queue.enqueue(draw, {})
    with sentry_sdk.isolation_scope():
        sentry_sdk.set_user({"id": "ada"})
        sentry_sdk.add_breadcrumb(message="GET /")
        drain(queue)
    [event] = sentry.events()
    assert "user" not in event
    assert "GET /" not in str(event["breadcrumbs"])


def about(job_id: str, attempt: int) -> Attempting:
    return Attempting(job_id, "draw", "default", attempt, "worker-1", {}, 0.0)


def fail(observer: Sentry, *attempts: Attempting) -> None:
    with pytest.raises(ValueError, match="no"), observer.attempting(attempts):
        raise ValueError("no")


def ended(job_id: str, attempt: int) -> Attempted:
    return Attempted(job_id, "draw", "default", attempt, "failed", "failed", "ValueError", 1.0, 0.0)


def test_the_failure_of_an_attempt_is_told_for_no_other(sentry: Kept) -> None:
    observer = Sentry()
    fail(observer, about("a", 1))
    fail(observer, about("a", 2))
    observer.lease_lost("a", "draw")  # of the first
    observer.attempted(ended("a", 1))
    observer.attempted(ended("a", 2))
    observer.attempted(ended("a", 3))
    lost, known, unknown = sentry.events()
    assert known["contexts"]["jobq"]["attempt"] == 2
    assert "exception" in known
    assert lost["message"] == unknown["message"] == "draw failed: ValueError"


def test_only_so_many_failures_wait_for_their_outcomes(sentry: Kept) -> None:
    observer = Sentry()
    fail(observer, *[about(f"of-a-batch-{n}", 1) for n in range(2 * MOST_HELD)])
    fail(observer, about("second", 1))
    for n in range(MOST_HELD - 1):
        fail(observer, about(str(n), 1))
    for job_id in ("of-a-batch-0", "second"):
        observer.attempted(ended(job_id, 1))
    assert ["exception" in event for event in sentry.events()] == [False, True]


def test_sentrys_usual_integrations_do_not_tell_of_it_again(
    sqlite: str, router: jobq.Router
) -> None:
    kept = Kept()
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1", transport=kept, auto_enabling_integrations=False
    )
    try:

        @router.handler("draw", retry=jobq.Retry(max_attempts=1))
        def draw(payload: dict) -> None:
            raise ValueError("no")

        with jobq.Queue(sqlite, router=router, observers=[Sentry()]) as queue:
            queue.enqueue(draw, {})
            drain(queue)
    finally:
        sentry_sdk.get_global_scope().set_client(None)
    assert len(kept.events()) == 1


def test_an_exception_is_let_go_when_its_outcome_is_stored(
    queue: jobq.Queue, router: jobq.Router, sentry: Kept
) -> None:
    class Refused(Exception): ...

    raised: list[weakref.ref[Refused]] = []

    @router.handler("draw", retry=jobq.Retry(max_attempts=2, backoff=jobq.Fixed(0.0)))
    async def draw(payload: dict) -> None:
        error = Refused()
        raised.append(weakref.ref(error))
        raise error

    queue.enqueue(draw, {})
    work_off(queue)
    gc.collect()
    assert [error() for error in raised] == [None, None]


def test_without_a_client_nothing_is_in_the_way(
    sqlite: str, router: jobq.Router, caplog: pytest.LogCaptureFixture
) -> None:
    @router.handler("draw", retry=jobq.Retry(max_attempts=1))
    async def draw(payload: dict) -> None:
        raise ValueError("no")

    with jobq.Queue(sqlite, router=router, observers=[Sentry()]) as queue:
        job = queue.enqueue(draw, {})
        drain(queue)
        assert queue.get(job).status == "failed"
        assert queue.get(job).metadata == {}
    assert "observer" not in caplog.text
