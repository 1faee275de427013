"""Steps: what was done is done, whatever happens to the worker, and what is paid is paid once."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import jobq
import jobq.testing
from jobq._worker.execute import given_back
from jobq.backends import ops
from jobq.testing import FrozenClock, adrain
from tests.conformance.situations import claim, run, sql

AT_ONCE = jobq.Retry(max_attempts=5, backoff=jobq.Fixed(0))


class Provider:
    """Counts what it is asked to do."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def make(self, what: Any) -> dict[str, Any]:
        self.calls.append(what)
        return {"made": what}


@pytest.fixture
def provider() -> Provider:
    return Provider()


async def rows_of(aqueue: jobq.AsyncQueue, job: jobq.Job) -> dict[str, str]:
    return {row.name: row.status for row in run(aqueue.sync, ops.read_steps, job.id)}


# --- done once ----------------------------------------------------------------------------------


async def test_a_step_that_is_done_is_not_done_again_by_a_later_attempt(
    aqueue: jobq.AsyncQueue, router: jobq.Router, provider: Provider
) -> None:
    @router.handler("h", retry=AT_ONCE)
    async def handle(job: jobq.JobContext) -> list[Any]:
        made = [await job.step(f"make:{n}", provider.make, n) for n in range(3)]
        if job.attempt < 3:
            raise RuntimeError("the upload failed")
        return made

    job = await aqueue.enqueue(handle)
    await adrain(aqueue)
    done = await aqueue.get(job.id)
    assert (done.status, done.attempts) == ("completed", 3)
    assert done.result == [{"made": n} for n in range(3)]
    assert provider.calls == [0, 1, 2]


async def test_a_def_handler_has_the_same_steps(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    calls: list[str] = []

    def make(what: str) -> tuple[str, int]:
        calls.append(what)
        return what, len(calls)

    @router.handler("h", retry=AT_ONCE)
    def handle(job: jobq.SyncJobContext) -> list[Any]:
        script = job.step("script", make, "script")
        seen = job.checkpoint.get(0)
        job.checkpoint.set(seen + 1)
        if job.attempt == 1:
            raise RuntimeError
        return [list(script), isinstance(script, tuple), seen]

    job = await aqueue.enqueue(handle)
    await adrain(aqueue)
    assert (await aqueue.get(job.id)).result == [["script", 1], True, 1]
    assert calls == ["script"]


async def test_steps_survive_release_rate_limiting_and_a_retry_by_hand(
    aqueue: jobq.AsyncQueue, router: jobq.Router, provider: Provider
) -> None:
    ends = iter([jobq.Snooze(0), jobq.RateLimited(0), jobq.Permanent("no"), None])

    @router.handler("h")
    async def handle(job: jobq.JobContext) -> Any:
        made = await job.step("make", provider.make, 1)
        error = next(ends)
        if error is not None:
            raise error
        return made

    job = await aqueue.enqueue(handle)
    await adrain(aqueue)
    sql(aqueue.sync, "UPDATE jobq_job SET ready = declared")  # the rest of a second
    await adrain(aqueue)
    assert (await aqueue.get(job.id)).status == "failed"
    await aqueue.retry(job.id)
    await adrain(aqueue)
    assert (await aqueue.get(job.id)).result == {"made": 1}
    assert provider.calls == [1]


async def test_a_run_that_has_ended_a_step_has_used_its_time_well(
    aqueue: jobq.AsyncQueue, router: jobq.Router, provider: Provider
) -> None:
    @router.handler("long")
    async def long(job: jobq.JobContext) -> list[bool]:
        running, found = job._attempt, []
        running.entered, running.stopping = True, "budget"
        found.append(given_back(running).overran)
        running.stopping = None
        await job.step("make", provider.make, 1)
        running.stopping = "budget"
        found.append(given_back(running).overran)
        running.stopping = None
        return found

    job = await aqueue.enqueue(long)
    await jobq.Worker(aqueue).run_once()
    assert (await aqueue.get(job.id)).result == [True, False]


async def test_a_result_comes_back_as_the_type_that_the_function_returns(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    import attrs

    @attrs.frozen
    class Image:
        url: str

    async def paint() -> list[Image]:
        return [Image("a.png")]

    # What a local class is called is not to be found from outside.
    paint.__annotations__["return"] = list[Image]
    seen: list[Any] = []

    @router.handler("h", retry=AT_ONCE)
    async def handle(job: jobq.JobContext) -> None:
        seen.append(await job.step("paint", paint))
        if job.attempt == 1:
            raise RuntimeError

    await aqueue.enqueue(handle)
    await adrain(aqueue)
    assert seen == [[Image("a.png")], [Image("a.png")]]


async def test_a_step_that_raises_is_called_again_by_the_next_attempt(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    calls: list[int] = []

    async def fragile() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(28, "no space left")
        return "made"

    @router.handler("h", retry=AT_ONCE)
    async def handle(job: jobq.JobContext) -> str:
        return await job.step("make", fragile, on_ambiguous="fail")

    job = await aqueue.enqueue(handle)
    assert await adrain(aqueue, max_jobs=1) == 1
    assert await rows_of(aqueue, job) == {"make": "failed"}
    await adrain(aqueue)
    assert (await aqueue.get(job.id)).result == "made"


async def test_jobs_without_steps_ask_and_write_nothing(
    aqueue: jobq.AsyncQueue, router: jobq.Router, provider: Provider
) -> None:
    class Watcher(jobq.Observer):
        def __init__(self) -> None:
            self.ops: list[str] = []

        def database_called(self, op: str, seconds: float, error: BaseException | None) -> None:
            self.ops.append(op)

    watcher = Watcher()
    watched = jobq.AsyncQueue(aqueue.sync._config.url, router=router, observers=[watcher])

    @router.handler("plain")
    async def plain() -> None: ...

    @router.handler("stepped")
    async def stepped(job: jobq.JobContext) -> None:
        for n in range(3):
            await job.step(f"make:{n}", provider.make, n)

    await watched.enqueue(plain)
    await adrain(watched)
    assert not {"read_steps", "write_step"} & set(watcher.ops)
    await watched.enqueue(stepped)
    await adrain(watched)
    assert (watcher.ops.count("read_steps"), watcher.ops.count("write_step")) == (1, 6)
    await watched.aclose()


# --- what is not the same -----------------------------------------------------------------------


async def test_other_arguments_are_an_error_unless_the_version_is_another(
    aqueue: jobq.AsyncQueue, router: jobq.Router, provider: Provider
) -> None:
    @router.handler("h", retry=AT_ONCE)
    async def handle(job: jobq.JobContext) -> Any:
        version = 2 if job.attempt == 3 else 1
        made = await job.step("make", provider.make, job.attempt, version=version)
        if job.attempt == 1:
            raise RuntimeError
        return made

    job = await aqueue.enqueue(handle)
    await adrain(aqueue, max_jobs=2)
    again = await aqueue.get(job.id)
    assert again.error_code == "StepChanged"
    assert again.error is not None
    assert "version=2" in again.error
    await adrain(aqueue)
    assert (await aqueue.get(job.id)).result == {"made": 3}
    assert provider.calls == [1, 3]


async def test_a_name_stands_for_one_step_of_a_handler(
    aqueue: jobq.AsyncQueue, router: jobq.Router, provider: Provider
) -> None:
    @router.handler("h", retry=jobq.Retry(max_attempts=1))
    async def handle(job: jobq.JobContext) -> None:
        await job.step("make", provider.make, 1)
        await job.step("make", provider.make, 1)

    job = await aqueue.enqueue(handle)
    await adrain(aqueue)
    failed = await aqueue.get(job.id)
    assert (failed.status, failed.error_code) == ("failed", "OptionError")
    assert provider.calls == [1]


BAD: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "a name that is none": (("", print), {}),
    "a name of jobq's own": (("@checkpoint", print), {}),
    "a name that cannot be stored": (("a\x00b", print), {}),
    "no function": (("a", "print"), {}),
    "a version that is none": (("a", print), {"version": 0}),
    "a policy that is none": (("a", print), {"on_ambiguous": "ask"}),
    "two transactions": (("a", print), {"session": 1, "connection": 1}),
    "a transaction that could be ambiguous": (
        ("a", print),
        {"connection": 1, "on_ambiguous": "fail"},
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_step_that_cannot_be_is_refused(what: str) -> None:
    args, options = BAD[what]

    @jobq.Router().handler("h")
    def handle(job: jobq.SyncJobContext) -> None:
        job.step(*args, **options)

    with pytest.raises(jobq.OptionError):
        jobq.testing.perform(handle)


# --- with artifacts and budgets -----------------------------------------------------------------


async def test_a_large_result_is_kept_among_the_artifacts(
    url: str, router: jobq.Router, tmp_path: Path
) -> None:
    calls: list[int] = []
    large = ["é" * 100] * 3000

    async def make() -> list[str]:
        calls.append(1)
        return large

    @router.handler("h", retry=AT_ONCE)
    async def handle(job: jobq.JobContext) -> bool:
        made = await job.step("make", make)
        if job.attempt == 1:
            raise RuntimeError
        return made == large

    queue = jobq.AsyncQueue(url, router=router, artifacts=tmp_path / "kept")
    job = await queue.enqueue(handle)
    await adrain(queue)
    assert ((await queue.get(job.id)).result, calls) == (True, [1])
    (row,) = run(queue.sync, ops.read_steps, job.id)
    assert len(row.result) < 200
    (artifact,) = await queue.artifacts(job.id)
    assert (artifact.step, artifact.status) == ("make", "stored")
    await queue.aclose()


async def test_what_a_step_saves_is_stored_with_the_step_and_not_twice(
    url: str, router: jobq.Router, tmp_path: Path
) -> None:
    @router.handler("h", retry=AT_ONCE)
    async def handle(job: jobq.JobContext) -> str:
        async def paint() -> str:
            return (await job.save(b"an image", name="image.txt")).id

        image = await job.step("paint", paint)
        if job.attempt == 1:
            raise RuntimeError
        return image

    queue = jobq.AsyncQueue(url, router=router, artifacts=tmp_path / "kept")
    job = await queue.enqueue(handle)
    await adrain(queue, max_jobs=1)
    (artifact,) = await queue.artifacts(job.id)
    assert (artifact.step, artifact.status) == ("paint", "stored")
    await adrain(queue)
    assert (await queue.get(job.id)).result == artifact.id
    assert [one.id for one in await queue.artifacts(job.id)] == [artifact.id]
    await queue.aclose()


async def test_no_step_is_begun_when_the_budget_is_used_up(
    aqueue: jobq.AsyncQueue, router: jobq.Router, provider: Provider
) -> None:
    @router.handler("h", budget=jobq.Budget(per_job=1))
    async def handle(job: jobq.JobContext) -> None:
        for n in range(5):
            await job.step(f"make:{n}", provider.make, n)
            await job.spend(usd="0.40", provider="p", request_id=str(n))

    job = await aqueue.enqueue(handle)
    await adrain(aqueue)
    assert (await aqueue.get(job.id)).status == "failed"
    assert len(provider.calls) == 3


# --- ambiguous calls ----------------------------------------------------------------------------


async def cut_off(aqueue: jobq.AsyncQueue, router: jobq.Router, options: dict[str, Any]) -> Any:
    """A job whose worker ended within its step, after another attempt; and what was called."""
    begun, calls = asyncio.Event(), []

    async def make(what: str) -> str:
        calls.append(what)
        begun.set()
        if len(calls) == 1:
            await asyncio.Event().wait()
        return f"{what} {len(calls)}"

    @router.handler("h", retry=AT_ONCE)
    async def handle(job: jobq.JobContext) -> str:
        return await job.step("make", make, "image", **options)

    job = await aqueue.enqueue(handle)
    async with jobq.Worker(aqueue, grace=0).running():
        await begun.wait()
    assert await rows_of(aqueue, job) == {"make": "started"}
    await adrain(aqueue)
    return await aqueue.get(job.id), calls


async def test_a_call_whose_end_is_not_recorded_is_made_again(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    done, calls = await cut_off(aqueue, router, {})
    assert (done.result, calls) == ("image 2", ["image", "image"])
    assert done.attempts == 1


async def test_or_fails_the_job_where_it_must_not_be_made_twice(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    failed, calls = await cut_off(aqueue, router, {"on_ambiguous": "fail"})
    assert (failed.status, failed.error_code) == ("failed", "ambiguous_step")
    assert calls == ["image"]


@pytest.mark.parametrize("found, result", [("found it", "found it"), (None, "image 2")])
async def test_or_is_looked_up_by_a_function_of_the_same_arguments(
    aqueue: jobq.AsyncQueue, router: jobq.Router, found: str | None, result: str
) -> None:
    asked: list[str] = []

    async def look(what: str) -> str | None:
        asked.append(what)
        return found

    done, calls = await cut_off(aqueue, router, {"on_ambiguous": look})
    assert (done.result, asked) == (result, ["image"])
    assert len(calls) == (1 if found else 2)


async def test_a_connection_that_broke_in_a_step_leaves_it_open(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    async def make() -> None:
        raise ConnectionResetError

    @router.handler("h", retry=AT_ONCE)
    async def handle(job: jobq.JobContext) -> None:
        await job.step("make", make, on_ambiguous="fail")

    job = await aqueue.enqueue(handle)
    await adrain(aqueue)
    failed = await aqueue.get(job.id)
    assert (failed.error_code, failed.attempts) == ("ambiguous_step", 2)


def test_a_step_has_the_same_key_for_its_provider_in_every_attempt() -> None:
    keys: list[str] = []

    @jobq.Router().handler("h")
    def handle(job: jobq.SyncJobContext) -> None:
        keys.append(job.idempotency_key("charge"))
        keys.append(job.idempotency_key("charge"))
        keys.append(job.idempotency_key("charge", version=2))
        keys.append(job.idempotency_key("other"))

    jobq.testing.perform(handle)
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


# --- whose claim it is --------------------------------------------------------------------------


async def test_a_step_of_a_lost_claim_is_refused_and_its_handler_cancelled(
    aqueue: jobq.AsyncQueue, router: jobq.Router, provider: Provider
) -> None:
    ended: list[str] = []

    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        await job.step("before", provider.make, 0)
        await aqueue.retry(job.id)  # somebody takes it away
        await aqueue.cancel(job.id)
        try:
            await job.step("after", provider.make, 1)
        except jobq.LeaseLost:
            ended.append("refused")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    job = await aqueue.enqueue(handle)
    await adrain(aqueue)
    assert ended == ["refused", "cancelled"]
    assert provider.calls == [0]
    assert await rows_of(aqueue, job) == {"before": "done"}


def test_one_statement_writes_a_step_for_the_claim_that_holds_the_job(
    frozen: jobq.Queue, known: Any, clock: FrozenClock
) -> None:
    job = frozen.enqueue(known, {})
    (held,) = claim(frozen)
    row = ops.StepRow("make", "started", args_hash="h")
    late = {"id": job.id, "fence": held.fence + 1, "row": row}
    assert run(frozen, ops.write_step, **late) is None
    assert sql(frozen, "SELECT count(*) FROM jobq_step") == [(0,)]
    mine = {"id": job.id, "fence": held.fence}
    assert run(frozen, ops.write_step, **mine, row=row) == row
    done = row._replace(status="done", result='{"a":1}')
    frozen.retry(job)
    assert run(frozen, ops.write_step, **mine, row=done) is None
    (again,) = claim(frozen)
    assert run(frozen, ops.write_step, id=job.id, fence=again.fence, row=done) == done
    assert run(frozen, ops.read_steps, job.id) == [done]
    assert run(frozen, ops.read_steps, jobq._model.new_id()) == []


def test_steps_go_with_their_job(frozen: jobq.Queue, known: Any) -> None:
    jobs = [frozen.enqueue(known, {}) for _ in range(2)]
    for held in claim(frozen, slots=2):
        row = ops.StepRow("make", "done")
        run(frozen, ops.write_step, id=held.id, fence=held.fence, row=row)
    frozen.cancel(jobs[0])
    frozen.set_status(jobs[0], "completed")
    frozen.delete(jobs[0])
    left = "SELECT CAST(job_id AS text) FROM jobq_step"
    assert sql(frozen, left) == [(jobs[1].id,)]


# --- in the app's transaction -------------------------------------------------------------------


async def test_a_step_commits_with_the_rows_of_the_app_or_not_at_all(
    aqueue: jobq.AsyncQueue, router: jobq.Router, url: str
) -> None:
    sql(aqueue.sync, "DROP TABLE IF EXISTS paid")
    sql(aqueue.sync, "CREATE TABLE paid (n integer)")

    def connect() -> Any:
        if url.startswith("sqlite"):
            return sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)
        import psycopg

        return psycopg.connect(url)

    def pay(connection: Any) -> int:
        connection.execute("INSERT INTO paid VALUES (1)")
        return 1

    @router.handler("h", retry=AT_ONCE)
    def handle(job: jobq.SyncJobContext) -> int:
        connection = connect()
        try:
            job.step("first", pay, connection, connection=connection)
            job.checkpoint.set("paid", connection=connection)
            if job.attempt == 1:
                raise RuntimeError("before the commit")
            connection.commit()
            if job.attempt == 2:
                raise RuntimeError("after the commit")
            return 7
        finally:
            connection.close()

    job = await aqueue.enqueue(handle)
    await adrain(aqueue)
    assert (await aqueue.get(job.id)).result == 7
    assert sql(aqueue.sync, "SELECT count(*) FROM paid") == [(1,)]
    assert await rows_of(aqueue, job) == {"first": "done", "@checkpoint": "done"}
    sql(aqueue.sync, "DROP TABLE paid")


# --- the end of a worker ------------------------------------------------------------------------


async def test_a_worker_that_is_to_end_begins_no_further_step(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun, go_on, calls = asyncio.Event(), asyncio.Event(), []

    async def make(n: int) -> int:
        calls.append(n)
        if n == 0:
            begun.set()
            await go_on.wait()
        return n

    @router.handler("h", retry=jobq.Retry(max_attempts=1))
    async def handle(job: jobq.JobContext) -> list[int]:
        return [await job.step(f"make:{n}", make, n) for n in range(3)]

    job = await aqueue.enqueue(handle)
    worker = jobq.Worker(aqueue, grace=3600)
    running = asyncio.create_task(worker.run())
    await begun.wait()
    worker.stop()
    go_on.set()
    await running
    left = await aqueue.get(job.id)
    assert (left.status, left.attempts, left.released_count > 0) == ("pending", 0, True)
    assert (calls, await rows_of(aqueue, job)) == ([0], {"make:0": "done"})
    await adrain(aqueue)
    assert (await aqueue.get(job.id)).result == [0, 1, 2]
    assert calls == [0, 1, 2]
