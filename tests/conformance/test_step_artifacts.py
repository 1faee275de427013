"""What steps save is stored with their records, and so are results that are too large for these."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

import jobq
from jobq.testing import FrozenClock, drain, perform
from tests.artifacts import PNG, Folder, a_folder

AGAIN = jobq.Retry(max_attempts=3, backoff=jobq.Fixed(0))
LARGE = ["a red door"] * 50_000


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return a_folder(tmp_path)


@pytest.fixture
def gallery(
    url: str, router: jobq.Router, folder: Folder, clock: FrozenClock
) -> Iterator[jobq.Queue]:
    """A queue that keeps artifacts in a folder."""
    with jobq.Queue(url, router=router, artifacts=folder.storage, clock=clock) as queue:
        yield queue


def ran(queue: jobq.Queue) -> jobq.Job:
    job = queue.enqueue("paint", {})
    drain(queue)
    return queue.get(job)


def in_a_handler(
    router: jobq.Router, function: Callable[[jobq.JobContext], Any], calls: list[int]
) -> None:
    """A handler with one step; its first attempt fails afterwards."""

    @router.handler("paint", retry=AGAIN)
    async def paint(payload: dict[str, Any], job: jobq.JobContext) -> Any:
        async def draw() -> Any:
            calls.append(job.attempt)
            return await function(job)

        found = await job.step("draw", draw)
        if job.attempt == 1:
            raise ValueError("the paper is jammed")
        return found


def test_what_a_step_saves_is_stored_although_its_attempt_fails(
    gallery: jobq.Queue, router: jobq.Router, folder: Folder, clock: FrozenClock
) -> None:
    async def draw(job: jobq.JobContext) -> str | None:
        return (await job.save(PNG, name="door.png")).url

    calls: list[int] = []
    in_a_handler(router, draw, calls)
    job = ran(gallery)
    [saved] = gallery.artifacts(job)
    assert (calls, job.attempts) == ([1], 2)
    assert job.result == f"artifact:{saved.id}"
    assert (saved.status, saved.step, saved.name) == ("stored", "draw", "door.png")
    clock.advance(10**6)
    assert gallery.sweep_artifacts(dry_run=False).rows == 0
    assert folder.content(saved.key) == PNG


def test_what_a_step_saved_that_failed_is_not_stored(
    gallery: jobq.Queue, router: jobq.Router
) -> None:
    async def draw(job: jobq.JobContext) -> None:
        await job.save(PNG + bytes([job.attempt]), name="door.png")
        if job.attempt < 3:
            raise ValueError("out of red")

    calls: list[int] = []
    in_a_handler(router, draw, calls)
    job = ran(gallery)
    assert calls == [1, 2, 3]
    assert [one.status for one in gallery.artifacts(job)] == ["uploading", "uploading", "stored"]


def test_steps_at_the_same_time_keep_their_own(gallery: jobq.Queue, router: jobq.Router) -> None:
    @router.handler("paint")
    async def paint(payload: dict[str, Any], job: jobq.JobContext) -> None:
        async def draw(n: int) -> str:
            await asyncio.sleep(0)
            return (await job.save(PNG + bytes([n]), name="door.png")).id

        await asyncio.gather(*(job.step(f"draw:{n}", draw, n) for n in range(4)))
        await job.save(PNG, name="door.png")

    found = gallery.artifacts(ran(gallery))
    assert {(one.step, one.sha256, one.status) for one in found} == {
        (one.step, one.sha256, "stored") for one in found
    }
    assert {one.step for one in found} == {"", "draw:0", "draw:1", "draw:2", "draw:3"}


def test_a_def_handlers_steps_save_too(gallery: jobq.Queue, router: jobq.Router) -> None:
    @router.handler("paint", retry=AGAIN)
    def paint(payload: dict[str, Any], job: jobq.SyncJobContext) -> Any:
        found = job.step("draw", lambda: [job.save(PNG).id, *LARGE])
        if job.attempt == 1:
            raise ValueError("the paper is jammed")
        return [found[0], len(found)]

    job = ran(gallery)
    saved = {one.name: one for one in gallery.artifacts(job)}
    assert {one.status for one in saved.values()} == {"stored"}
    assert job.result == [saved["1.png"].id, len(LARGE) + 1]


def test_a_result_that_is_too_large_for_its_row_is_kept_and_given_back(
    gallery: jobq.Queue, router: jobq.Router, url: str
) -> None:
    async def draw(job: jobq.JobContext) -> list[str]:
        return LARGE

    calls: list[int] = []
    in_a_handler(router, draw, calls)
    job = ran(gallery)
    assert (calls, job.result) == ([1], LARGE)
    [kept] = gallery.artifacts(job)
    assert (kept.name, kept.content_type, kept.status) == (
        "result.json",
        "application/json",
        "stored",
    )
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        sql = "SELECT length(CAST(result AS text)) FROM jobq_step WHERE name = 'draw'"
        assert connection.execute(sqlalchemy.text(sql)).scalar_one() < 500
    engine.dispose()


def test_a_result_that_looks_like_one_that_is_kept_is_itself(
    gallery: jobq.Queue, router: jobq.Router
) -> None:
    odd = {"@artifact": {"id": "1", "key": "../../jobs.db", "bytes": 10}}

    async def draw(job: jobq.JobContext) -> Any:
        return odd

    calls: list[int] = []
    in_a_handler(router, draw, calls)
    assert ran(gallery).result == odd
    assert calls == [1]


def test_what_is_saved_while_asking_belongs_to_what_is_waited_for(
    gallery: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    asked: list[int] = []

    @router.handler("paint", retry=AGAIN)
    async def paint(payload: dict[str, Any], job: jobq.JobContext) -> Any:
        async def poll(operation: str) -> str | None:
            asked.append(job.attempt)
            return (await job.save(PNG, name="film.png")).id if len(asked) == 2 else None

        film = await job.wait("film", "op-1", poll=poll, every=10)
        if job.attempt == 1:
            raise ValueError("the paper is jammed")
        return film

    job = gallery.enqueue("paint", {})
    drain(gallery, with_scheduled=True)
    [saved] = gallery.artifacts(job)
    assert (saved.status, saved.step) == ("stored", "film")
    assert (gallery.get(job).result, len(asked)) == (saved.id, 2)


@pytest.mark.parametrize("commits", [True, False])
def test_in_a_transaction_of_the_handlers_it_is_stored_with_that(
    gallery: jobq.Queue, router: jobq.Router, url: str, commits: bool
) -> None:
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    @router.handler("paint", retry=jobq.Retry(max_attempts=1))
    def paint(payload: dict[str, Any], job: jobq.SyncJobContext) -> None:
        with engine.begin() as connection:
            job.step("draw", lambda: job.save(PNG).id, connection=connection)
            if not commits:
                raise ValueError("the paper is jammed")

    job = ran(gallery)
    engine.dispose()
    [saved] = gallery.artifacts(job)
    assert saved.status == ("stored" if commits else "uploading")


def test_steps_save_without_a_database_as_well(router: jobq.Router) -> None:
    @router.handler("paint")
    async def paint(payload: dict[str, Any], job: jobq.JobContext) -> str:
        async def draw() -> str:
            return (await job.save(PNG, name="door.png")).name

        return await job.step("draw", draw)

    saved: dict[str, bytes] = {}
    assert perform(paint, {}, saved=saved) == "door.png"
    assert saved == {"door.png": PNG}
