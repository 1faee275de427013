"""Enqueue, one job or many: options, defaults, unique keys, and jobs whose handler is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pydantic
import pytest

import jobq
from jobq.testing import FrozenClock, drain
from tests.conformance.situations import claim, finish, job_in, run, sql

NOON = datetime(2031, 1, 1, 12, tzinfo=UTC)


@dataclass
class Picture:
    url: str
    width: int = 512


@dataclass
class Poison:
    """A payload whose own check fails with an error of another kind."""

    key: str

    def __post_init__(self) -> None:
        raise KeyError(self.key)


class Share(pydantic.BaseModel):
    """A payload that cannot always be put back into JSON."""

    of: int

    @pydantic.computed_field
    @property
    def share(self) -> float:
        return 1 / self.of


# --- options ------------------------------------------------------------------------------------


def test_a_job_is_stored_with_the_options_that_it_was_given(queue: jobq.Queue) -> None:
    run_at = datetime(2040, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    job = queue.enqueue(
        "resize",
        {"a": [1, 2.5, None, True, "ä"]},
        queue="images",
        priority=7,
        run_at=run_at,
        max_attempts=9,
        timeout=timedelta(minutes=2),
        expires_at=run_at + timedelta(days=1),
        unique_key="k",
        owner="user-7",
        metadata={"source": "web"},
    )
    assert job.created
    assert queue.get(job.id) == job
    assert (job.type, job.queue, job.priority, job.status) == ("resize", "images", 7, "pending")
    assert job.payload == {"a": [1, 2.5, None, True, "ä"]}
    assert (job.run_at, job.expires_at) == (run_at, run_at + timedelta(days=1))
    assert (job.max_attempts, job.timeout) == (9, 120.0)
    assert (job.unique_key, job.owner, job.metadata) == ("k", "user-7", {"source": "web"})
    assert (job.attempts, job.progress, job.version) == (0, 0, 1)


def test_a_job_without_options_is_due_now_in_the_default_queue(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    job = frozen.enqueue(known, {})
    assert (job.queue, job.priority, job.declared) == ("default", 0, True)
    assert (job.run_at, job.created_at, job.updated_at) == (NOON, NOON, NOON)
    assert (job.max_attempts, job.timeout) == (3, 900.0)
    assert (job.owner, job.unique_key, job.expires_at, job.metadata) == (None, None, None, {})


def test_options_that_are_not_given_come_from_the_handler(
    queue: jobq.Queue, router: jobq.Router
) -> None:
    @router.handler(
        "resize", queue="images", priority="batch", retry=jobq.Retry(max_attempts=5), timeout=60
    )
    def resize(payload: dict) -> None: ...

    job = queue.enqueue(resize, {})
    assert (job.queue, job.priority, job.max_attempts, job.timeout) == ("images", -100, 5, 60.0)


def test_options_that_are_given_win_over_those_of_the_handler(
    queue: jobq.Queue, router: jobq.Router
) -> None:
    @router.handler("resize", queue="images", priority="urgent", timeout=60)
    def resize(payload: dict) -> None: ...

    job = queue.enqueue(
        resize, {}, queue="default", priority="normal", max_attempts=1, timeout=None
    )
    assert (job.queue, job.priority, job.max_attempts, job.timeout) == ("default", 0, 1, None)


@pytest.mark.parametrize(
    "given, stored",
    [("urgent", 100), ("normal", 0), ("batch", -100), (-32768, -32768), (32767, 32767)],
)
def test_a_priority_is_a_word_or_a_small_integer(
    queue: jobq.Queue, given: int | str, stored: int
) -> None:
    assert queue.get(queue.enqueue("t", {}, priority=given)).priority == stored


@pytest.mark.parametrize("delay", [90, 90.0, timedelta(seconds=90)])
def test_a_delay_counts_from_now(frozen: jobq.Queue, delay: float | timedelta) -> None:
    assert frozen.enqueue("t", {}, delay=delay).run_at == NOON + timedelta(seconds=90)


def test_an_instant_may_be_given_in_any_time_zone(queue: jobq.Queue) -> None:
    from zoneinfo import ZoneInfo

    job = queue.enqueue("t", {}, run_at=datetime(2031, 1, 1, 13, tzinfo=ZoneInfo("Europe/Berlin")))
    assert job.run_at == NOON
    assert job.run_at.tzinfo is UTC


def test_a_job_is_not_claimed_before_its_run_at(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    frozen.enqueue(known, {}, delay=60)
    clock.advance(59.999)
    assert claim(frozen) == []
    clock.advance(0.001)
    assert len(claim(frozen)) == 1


def test_a_handler_without_payload_is_enqueued_without_one(
    queue: jobq.Queue, router: jobq.Router
) -> None:
    @router.handler("tick")
    def tick() -> None: ...

    assert queue.enqueue(tick).payload == {}
    assert queue.enqueue("tock").payload == {}


def test_a_typed_payload_is_stored_as_json_with_its_defaults(
    queue: jobq.Queue, router: jobq.Router
) -> None:
    @router.handler("resize")
    def resize(payload: Picture) -> None: ...

    assert queue.enqueue(resize, Picture("u")).payload == {"url": "u", "width": 512}
    assert queue.enqueue("resize", {"url": "u", "width": 9}).payload == {"url": "u", "width": 9}


def test_ids_sort_by_the_time_that_jobs_were_made(queue: jobq.Queue) -> None:
    ids = [queue.enqueue("t", {}).id for _ in range(20)]
    assert ids == sorted(ids)


async def test_both_faces_store_the_same_job(aqueue: jobq.AsyncQueue) -> None:
    job = await aqueue.enqueue("t", {"a": 1}, owner="me", delay=5)
    assert (await aqueue.get(job.id)) == job
    assert run(aqueue.sync, _get, job.id) == job


def _get(dialect: object, id: str) -> object:
    from jobq.backends import ops

    return ops.get(dialect, id)


# --- unique keys --------------------------------------------------------------------------------


def test_the_same_payload_under_a_held_key_returns_the_job_that_holds_it(queue: jobq.Queue) -> None:
    first = queue.enqueue("t", {"a": 1, "b": 2}, unique_key="k")
    again = queue.enqueue("t", {"b": 2, "a": 1}, unique_key="k", priority="urgent")
    assert (first.created, again.created) == (True, False)
    assert again == first
    assert queue.counts()["pending"] == 1


def test_another_payload_under_a_held_key_is_a_duplicate(queue: jobq.Queue) -> None:
    first = queue.enqueue("t", {"a": 1}, unique_key="k")
    with pytest.raises(jobq.DuplicateJob, match="holds the unique_key 'k'") as caught:
        queue.enqueue("t", {"a": 2}, unique_key="k")
    assert caught.value.existing_id == first.id
    assert (caught.value.type, caught.value.unique_key) == ("t", "k")
    assert queue.counts()["pending"] == 1


def test_a_key_is_held_within_its_type_only(queue: jobq.Queue) -> None:
    queue.enqueue("t", {"a": 1}, unique_key="k")
    assert queue.enqueue("u", {"a": 2}, unique_key="k").created


@pytest.mark.parametrize("status", ["pending", "processing", "rate_limited", "waiting"])
def test_an_unfinished_job_holds_its_key(
    queue: jobq.Queue, known: jobq.Handler[dict, dict], status: str
) -> None:
    job = job_in(queue, status, unique_key="k")
    with pytest.raises(jobq.DuplicateJob):
        queue.enqueue(known, {"other": 1}, unique_key="k")
    assert queue.enqueue(known, {}, unique_key="k").id == job.id


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_finished_job_leaves_its_key_free(
    queue: jobq.Queue, known: jobq.Handler[dict, dict], status: str
) -> None:
    job = job_in(queue, status, unique_key="k")
    second = queue.enqueue(known, {"other": 1}, unique_key="k")
    assert second.created
    assert second.id != job.id


# --- enqueue_many -------------------------------------------------------------------------------


def test_many_jobs_are_stored_with_an_outcome_for_each_in_order(
    queue: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    items = [
        (known, {"n": 0}),
        ("other", {"n": 1}, {"priority": "urgent", "owner": "me", "metadata": {"m": "ü\t\\n"}}),
        jobq.NewJob(type=known, payload={"n": 2}, delay=60, queue="slow"),
        ("other", {"text": "tab\t newline\n back\\slash \r ü 𝄞"}),
    ]
    outcomes = queue.enqueue_many(items)
    assert [(o.created, o.error) for o in outcomes] == [(True, None)] * 4
    jobs = [outcome.job for outcome in outcomes]
    assert jobs == queue.get_many(job.id for job in jobs if job)
    assert [job.payload for job in jobs if job] == [
        {"n": 0},
        {"n": 1},
        {"n": 2},
        {"text": "tab\t newline\n back\\slash \r ü 𝄞"},
    ]
    assert [job.declared for job in jobs if job] == [True, False, True, False]
    assert jobs[1] is not None
    assert (jobs[1].priority, jobs[1].owner, jobs[1].metadata) == (100, "me", {"m": "ü\t\\n"})
    assert jobs[2] is not None
    assert jobs[2].queue == "slow"
    assert jobs[2].run_at - jobs[2].created_at == timedelta(seconds=60)


def test_a_bad_item_keeps_only_itself_out(
    queue: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    items = [
        (known, {"n": 0}),
        (known, {"n": {1, 2}}),
        ("other", {}, {"priority": "high"}),
        ("other", {}, {"prio": 1}),
        "not an item",
        (known,),
        (known, {"n": 6}),
    ]
    outcomes = queue.enqueue_many(items)
    kinds = [type(outcome.error).__name__ for outcome in outcomes]
    assert kinds == [
        "NoneType",
        "PayloadError",
        "OptionError",
        "OptionError",
        "OptionError",
        "OptionError",
        "NoneType",
    ]
    assert [outcome.job is None for outcome in outcomes] == [False, *[True] * 5, False]
    assert [outcome.created for outcome in outcomes] == [True, *[False] * 5, True]
    assert queue.counts()["pending"] == 2


def test_a_generator_is_read_as_it_is_stored(queue: jobq.Queue) -> None:
    stored_when_read: list[int] = []

    def items() -> Iterator[tuple[str, dict]]:
        for n in range(20_001):
            if n % 10_000 == 0:
                stored_when_read.append(sql(queue, "SELECT count(*) FROM jobq_job")[0][0])
            yield "t", {"n": n}

    outcomes = queue.enqueue_many(items())
    assert all(outcome.created for outcome in outcomes)
    assert len(outcomes) == 20_001
    assert stored_when_read == [0, 10_000, 20_000]
    assert sql(queue, "SELECT count(*) FROM jobq_job") == [(20_001,)]


def test_nothing_to_enqueue_is_no_error(queue: jobq.Queue) -> None:
    assert queue.enqueue_many([]) == []


def test_keys_are_unique_within_a_batch(queue: jobq.Queue) -> None:
    held = queue.enqueue("t", {"n": 0}, unique_key="held")
    first, same, other, plain, existing, duplicate, another_type = queue.enqueue_many(
        [
            ("t", {"n": 1}, {"unique_key": "k"}),
            ("t", {"n": 1}, {"unique_key": "k"}),
            ("t", {"n": 2}, {"unique_key": "k"}),
            ("t", {"n": 2}),
            ("t", {"n": 0}, {"unique_key": "held"}),
            ("t", {"n": 9}, {"unique_key": "held"}),
            ("u", {"n": 9}, {"unique_key": "held"}),
        ]
    )
    assert first.created
    assert first.job is not None
    assert (same.created, same.error) == (False, None)
    assert same.job is not None
    assert same.job.id == first.job.id
    assert isinstance(other.error, jobq.DuplicateJob)
    assert other.error.existing_id == first.job.id
    assert plain.created
    assert existing.job == held
    assert not existing.created
    assert isinstance(duplicate.error, jobq.DuplicateJob)
    assert duplicate.error.existing_id == held.id
    assert another_type.created
    assert queue.counts()["pending"] == 4


def test_more_unique_jobs_than_one_statement_takes_are_all_stored(queue: jobq.Queue) -> None:
    outcomes = queue.enqueue_many(("t", {"n": n}, {"unique_key": f"k{n}"}) for n in range(2500))
    assert sum(outcome.created for outcome in outcomes) == 2500
    ids = [outcome.job.id for outcome in outcomes if outcome.job]
    assert [job.payload["n"] for job in queue.get_many(ids)] == [*range(2500)]


async def test_the_asynchronous_face_stores_many_alike(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    plain = await aqueue.enqueue_many((known, {"n": n}) for n in range(100))
    keyed = await aqueue.enqueue_many((known, {}, {"unique_key": str(n % 50)}) for n in range(100))
    assert sum(outcome.created for outcome in plain) == 100
    assert sum(outcome.created for outcome in keyed) == 50
    jobs = [outcome.job for outcome in (*plain, *keyed)]
    assert await aqueue.get_many(job for job in jobs if job) == jobs
    assert await jobq.Worker(aqueue, concurrency=50).run_once() == 150


# --- jobs whose handler is known elsewhere ------------------------------------------------------


def test_a_job_of_an_unknown_type_is_stored_undeclared_and_never_claimed(
    queue: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    job = queue.enqueue("elsewhere", {})
    assert (job.declared, job.status, job.max_attempts, job.timeout) == (
        False,
        "pending",
        None,
        None,
    )
    assert claim(queue, types=("elsewhere", known.type)) == []


def test_a_job_of_an_unknown_type_is_not_claimed_when_its_time_has_come(
    frozen: jobq.Queue, clock: FrozenClock
) -> None:
    jobs = [
        frozen.enqueue("elsewhere", {}, run_at=clock.time - timedelta(seconds=1)),
        frozen.enqueue("elsewhere", {}, run_at=clock.time + timedelta(seconds=1)),
        frozen.enqueue("elsewhere", {}, delay=1),
    ]
    clock.advance(2)
    assert claim(frozen, types=("elsewhere",), slots=3) == []
    assert [job.status for job in frozen.get_many(jobs)] == ["pending"] * 3


async def test_a_worker_leaves_a_type_that_it_does_not_know_pending(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    stranger = await aqueue.enqueue("elsewhere", {})
    assert await jobq.Worker(aqueue).run_once() == 0
    assert await aqueue.get(stranger.id) == stranger


async def test_a_worker_that_knows_the_type_declares_the_job_with_its_defaults(
    url: str, aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    job = await aqueue.enqueue("resize", {"url": "u"})

    @router.handler(
        "resize",
        queue="images",
        priority="urgent",
        retry=jobq.Retry(max_attempts=7),
        timeout=42,
        keep=timedelta(days=2),
    )
    async def resize(payload: Picture) -> int:
        return payload.width

    assert await jobq.Worker(aqueue).run_once() == 1
    done = await aqueue.get(job.id)
    assert (done.status, done.result, done.declared) == ("completed", 512, True)
    assert (done.queue, done.priority, done.max_attempts, done.timeout) == ("images", 100, 7, 42.0)
    assert done.payload == {"url": "u"}
    assert await kept(aqueue, job.id) == 2 * 86400


async def kept(aqueue: jobq.AsyncQueue, id: str) -> int:
    (row,) = sql(aqueue.sync, f"SELECT keep_seconds FROM jobq_job WHERE id = '{id}'")
    return int(row[0])


@pytest.mark.parametrize("given", [{"priority": "normal", "queue": "default"}, {"timeout": None}])
async def test_options_that_the_enqueuer_gave_win_when_a_job_is_declared(
    aqueue: jobq.AsyncQueue, router: jobq.Router, given: dict
) -> None:
    job = await aqueue.enqueue("resize", {}, **given, max_attempts=1)

    @router.handler("resize", queue="images", priority="urgent", timeout=42)
    async def resize(payload: dict) -> None: ...

    assert await jobq.Worker(aqueue).run_once() == 1
    done = await aqueue.get(job.id)
    assert done.status == "completed"
    assert done.max_attempts == 1
    if "timeout" in given:
        assert (done.queue, done.priority, done.timeout) == ("images", 100, None)
    else:
        assert (done.queue, done.priority, done.timeout) == ("default", 0, 42.0)


async def test_an_undeclared_job_whose_payload_does_not_fit_fails_with_the_path(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    bad = await aqueue.enqueue("resize", {"url": "u", "width": "wide"})
    good = await aqueue.enqueue("resize", {"url": "u"})

    @router.handler("resize")
    async def resize(payload: Picture) -> None: ...

    assert await jobq.Worker(aqueue).run_once() == 1
    refused = await aqueue.get(bad.id)
    assert (refused.status, refused.error_code) == ("failed", "invalid_payload")
    assert "$.width" in (refused.error or "")
    assert (refused.attempts, refused.completed_at is None) == (0, False)
    assert (await aqueue.get(good.id)).status == "completed"


async def test_an_undeclared_job_that_cannot_be_read_keeps_no_other_from_being_run(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    bad = await aqueue.enqueue("share", {"of": 0})
    good = await aqueue.enqueue("share", {"of": 2})

    @router.handler("share")
    async def share(payload: Share) -> None: ...

    assert await jobq.Worker(aqueue).run_once() == 1
    refused = await aqueue.get(bad.id)
    assert (refused.status, refused.error_code) == ("failed", "invalid_payload")
    assert "division by zero" in (refused.error or "")
    assert (await aqueue.get(good.id)).status == "completed"


def test_costs_that_somebody_wrote_by_hand_and_are_no_json_fail_their_job_alone(
    sqlite: str, router: jobq.Router
) -> None:
    with jobq.Queue(sqlite, router=router) as queue:
        bad, good = queue.enqueue("tick", {}), queue.enqueue("tick", {})
        sql(queue, f"UPDATE jobq_job SET costs = '{{nope' WHERE id = '{bad.id}'")

        @router.handler("tick")
        async def tick(payload: dict) -> None: ...

        assert drain(queue) == 1
        refused = queue.get(bad.id)
        assert (refused.status, refused.error_code) == ("failed", "invalid_options")
        assert queue.get(good.id).status == "completed"


async def test_more_undeclared_jobs_than_a_batch_are_all_declared(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    await aqueue.enqueue_many(("resize", {"url": str(n)}) for n in range(450))

    @router.handler("resize")
    async def resize(payload: Picture) -> None: ...

    assert await jobq.Worker(aqueue, concurrency=100).run_once() == 450


async def test_an_undeclared_future_job_waits_for_its_run_at_once_declared(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    await afrozen.enqueue("tick", {}, delay=60)

    @router.handler("tick")
    async def tick() -> None: ...

    assert await jobq.Worker(afrozen).run_once() == 0
    clock.advance(60)
    assert await jobq.Worker(afrozen).run_once() == 1


async def test_a_plain_insert_of_type_and_payload_is_a_valid_enqueue(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    ran: list[str] = []

    @router.handler("resize", queue="images", priority="urgent")
    async def resize(payload: Picture) -> dict:
        ran.append(payload.url)
        return {"width": payload.width}

    insert = "INSERT INTO jobq_job (type, payload) VALUES"
    sql(aqueue.sync, f"""{insert} ('resize', '{{"url": "u"}}')""")
    assert await jobq.Worker(aqueue).run_once() == 1
    (job,) = (await aqueue.list()).jobs
    assert ran == ["u"]
    assert (job.status, job.result) == ("completed", {"width": 512})
    assert (job.queue, job.priority, job.attempts) == ("images", 100, 1)


async def test_plain_inserts_have_ids_of_their_own_and_are_due_at_once(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict]
) -> None:
    for _ in range(3):
        sql(aqueue.sync, "INSERT INTO jobq_job (type, payload) VALUES ('work', '{}')")
    jobs = (await aqueue.list()).jobs
    assert len({job.id for job in jobs}) == 3
    assert {(job.status, job.declared, job.queue) for job in jobs} == {
        ("pending", False, "default")
    }
    assert await jobq.Worker(aqueue).run_once() == 3


async def test_a_plain_insert_whose_payload_does_not_fit_fails_with_the_path(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("resize")
    async def resize(payload: Picture) -> None: ...

    sql(aqueue.sync, "INSERT INTO jobq_job (type, payload) VALUES ('resize', '[1]')")
    assert await jobq.Worker(aqueue).run_once() == 0
    (job,) = (await aqueue.list()).jobs
    assert (job.status, job.error_code) == ("failed", "invalid_payload")
    assert "at $" in (job.error or "")


async def test_a_payload_class_that_fails_in_its_own_way_stops_its_job_only(
    aqueue: jobq.AsyncQueue, router: jobq.Router, known: jobq.Handler[dict, dict]
) -> None:
    poison = await aqueue.enqueue("poison", {"key": "missing"})

    @router.handler("poison")
    async def never(payload: Poison) -> None: ...

    other = await aqueue.enqueue(known, {})
    assert await jobq.Worker(aqueue).run_once() == 1
    failed = await aqueue.get(poison.id)
    assert (failed.status, failed.error_code) == ("failed", "invalid_payload")
    assert "KeyError" in (failed.error or "")
    assert (await aqueue.get(other.id)).status == "completed"


def test_strict_types_refuse_a_type_without_handler_here(url: str, router: jobq.Router) -> None:
    @router.handler("resize")
    def resize(payload: dict) -> None: ...

    with jobq.Queue(url, router=router, strict_types=True) as strict:
        with pytest.raises(jobq.UnknownType, match=r"type 'resise' \(registered: 'resize'\)"):
            strict.enqueue("resise", {})
        outcome, _ = strict.enqueue_many([("resise", {}), ("resize", {})])
        assert isinstance(outcome.error, jobq.UnknownType)
        assert strict.enqueue("resize", {}).created
        assert strict.counts()["pending"] == 2


# --- expiry -------------------------------------------------------------------------------------


async def test_a_job_that_did_not_start_before_its_expiry_fails_as_expired(
    afrozen: jobq.AsyncQueue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    late = await afrozen.enqueue(known, {}, expires_at=NOON + timedelta(minutes=1))
    clock.advance(60)
    await jobq.Worker(afrozen).run_once()
    failed = await afrozen.get(late.id)
    assert (failed.status, failed.error_code, failed.attempts) == ("failed", "expired", 0)
    assert failed.error == "it was not started before its expires_at"


def test_a_job_that_started_in_time_may_finish_after_its_expiry(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict], clock: FrozenClock
) -> None:
    job = frozen.enqueue(known, {}, expires_at=NOON + timedelta(minutes=1))
    (claimed,) = claim(frozen)
    clock.advance(120)
    assert finish(frozen, claimed) == {job.id: "completed"}


def test_of_very_many_items_the_ids_and_the_errors_are_kept(queue: jobq.Queue) -> None:
    def items() -> Iterator[Any]:
        yield ("t", {}, {"unique_key": "k"})
        yield from (("t", {"n": n}) for n in range(10_000))
        yield ("t", {}, {"priority": "soon"})
        yield ("t", {}, {"unique_key": "k"})

    outcomes = queue.enqueue_many(items())
    assert len(outcomes) == 10_003
    assert isinstance(outcomes[10_001].error, jobq.OptionError)
    assert (outcomes[10_001].id, outcomes[10_001].job) == (None, None)
    assert [one.created for one in outcomes[9_999:]] == [True, True, False, False]
    assert outcomes[-1].id == outcomes[0].id
    stored = queue.get_many([outcome.id for outcome in outcomes[1:10_001]])
    assert [job.payload["n"] for job in stored] == list(range(10_000))
    with pytest.raises(jobq.JobqError, match="only the ids are kept"):
        _ = outcomes[1].job
    with pytest.raises(IndexError):
        _ = outcomes[10_003]


def test_the_outcome_of_few_items_has_the_job(queue: jobq.Queue) -> None:
    [outcome] = queue.enqueue_many([("t", {"n": 1})])
    assert outcome.job is not None
    assert outcome.id == outcome.job.id
