"""What handlers save, on both databases, in a folder and in a bucket."""

from __future__ import annotations

import asyncio
import hashlib
import io
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import psycopg
import pytest

import jobq
from jobq import backends
from jobq.artifacts import Artifact, FileStorage, StorageUnavailable
from jobq.testing import FrozenClock, drain
from tests.artifacts import PNG, Bucket, Folder, Place, a_bucket, a_folder

DAY = timedelta(days=1)
SHA = hashlib.sha256(PNG).hexdigest()
KEY = f"{SHA[:2]}/{SHA}.png"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return a_folder(tmp_path)


@pytest.fixture
def bucket(endpoint: str) -> Bucket:
    return a_bucket(endpoint)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def gallery(
    url: str, router: jobq.Router, folder: Folder, clock: FrozenClock
) -> Iterator[jobq.Queue]:
    """A queue that keeps artifacts in a folder."""
    with jobq.Queue(url, router=router, artifacts=folder.storage, clock=clock) as queue:
        yield queue


def saving(router: jobq.Router, data: Any, **options: Any) -> None:
    """A handler `paint` that saves this, and fails or waits as its payload says."""

    @router.handler("paint", retry=jobq.Retry(max_attempts=2, backoff=jobq.Fixed(1)))
    async def paint(payload: dict[str, Any], job: jobq.JobContext) -> list[str | None]:
        content = data(payload, job) if callable(data) else data
        image = await job.save(content, **options)
        if job.attempt <= payload.get("fails", 0):
            raise ValueError("the paper is jammed")
        return [image.url, image.id]


def painted(queue: jobq.Queue, payload: dict[str, Any] | None = None) -> jobq.Job:
    job = queue.enqueue("paint", payload or {})
    drain(queue)
    return queue.get(job)


def only(queue: jobq.Queue, job: jobq.Job) -> Artifact:
    [found] = queue.artifacts(job)
    return found


# --- saving -------------------------------------------------------------------------------------


def test_what_a_handler_saves_is_stored_along_with_its_outcome(
    url: str, router: jobq.Router, place: Place
) -> None:
    saving(router, PNG, name="door.png")
    with jobq.Queue(url, router=router, artifacts=place.storage) as queue:
        job = painted(queue)
        saved = only(queue, job)
    assert (saved.status, saved.name, saved.content_type) == ("stored", "door.png", "image/png")
    assert (saved.sha256, saved.bytes, saved.key) == (SHA, len(PNG), KEY)
    assert job.result == [f"artifact:{saved.id}", saved.id]
    assert place.keys() == [KEY]
    assert place.content(KEY) == PNG


def test_a_def_handler_saves_as_well(
    gallery: jobq.Queue, router: jobq.Router, folder: Folder
) -> None:
    @router.handler("paint")
    def paint(payload: dict[str, Any], job: jobq.SyncJobContext) -> list[str]:
        return [job.save(PNG).name, job.save([b"one", b"two"], content_type="text/plain").name]

    job = painted(gallery)
    assert job.result == ["1.png", "2.txt"]
    assert [one.status for one in gallery.artifacts(job)] == ["stored", "stored"]
    assert set(map(folder.content, folder.keys())) == {PNG, b"onetwo"}


def test_a_handler_that_completes_its_job_itself_stores_what_it_saved(
    gallery: jobq.Queue, router: jobq.Router, url: str
) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    @router.handler("paint")
    def paint(payload: dict[str, Any], job: jobq.SyncJobContext) -> None:
        job.save(PNG)
        with engine.begin() as connection:
            job.complete({"done": True}, connection=connection)

    job = painted(gallery)
    engine.dispose()
    assert job.result == {"done": True}
    assert only(gallery, job).status == "stored"


def test_the_row_is_there_before_the_upload(url: str, router: jobq.Router, folder: Folder) -> None:
    seen: list[tuple[str, str]] = []

    class Looking(FileStorage):
        def put(self, key: str, content: BinaryIO, *, size: int, content_type: str) -> None:
            with jobq.Queue(url) as other:
                [job] = other.list(type="paint").jobs
                seen.extend((one.key, one.status) for one in other.artifacts(job))
            super().put(key, content, size=size, content_type=content_type)

    saving(router, PNG)
    storage = Looking(folder.storage.folder)
    with jobq.Queue(url, router=router, artifacts=storage) as queue:
        assert painted(queue).status == "completed"
    assert seen == [(KEY, "uploading")]


async def chunks(payload: Any, job: Any) -> AsyncIterator[bytes]:
    for _ in range(3):
        await asyncio.sleep(0)
        yield b"0123456789" * 10_000


class Reader:
    """A file whose `read` is awaited."""

    def __init__(self) -> None:
        self.file = io.BytesIO(PNG)

    async def read(self, size: int) -> bytes:
        return self.file.read(size)


FORMS = {
    "bytearray": (bytearray(PNG), len(PNG)),
    "memoryview": (memoryview(PNG)[::2], len(PNG) // 2),
    "file": (lambda *_: io.BytesIO(PNG), len(PNG)),
    "file that is awaited": (lambda *_: Reader(), len(PNG)),
    "path": (lambda _, job: Path(job.metadata["path"]), len(PNG)),
    "generator": (lambda *_: (bytes([n]) for n in range(9)), 9),
    "asynchronous generator": (chunks, 300_000),
    "large": (b"x" * 6_000_000, 6_000_000),
}


def one_of_each(payload: dict[str, Any], job: Any) -> Any:
    data, _ = FORMS[payload["form"]]
    return data(payload, job) if callable(data) else data


def test_data_comes_in_many_forms(
    sqlite: str, router: jobq.Router, folder: Folder, tmp_path: Path
) -> None:
    (tmp_path / "front.png").write_bytes(PNG)
    path = {"path": str(tmp_path / "front.png")}
    saving(router, one_of_each)
    with jobq.Queue(sqlite, router=router, artifacts=folder.storage) as queue:
        jobs = {form: queue.enqueue("paint", {"form": form}, metadata=path) for form in FORMS}
        drain(queue)
        saved = {form: only(queue, job) for form, job in jobs.items()}
    for form, (_, size) in FORMS.items():
        content = folder.content(saved[form].key)
        assert len(content) == saved[form].bytes == size, form
        assert hashlib.sha256(content).hexdigest() == saved[form].sha256, form


REFUSED: tuple[tuple[Any, dict[str, Any], str], ...] = (
    (b"", {}, "empty"),
    ([], {}, "empty"),
    ("a red door", {}, "'a red door' (str) cannot be saved"),
    (17, {}, "17 (int) cannot be saved"),
    ({"a": 1}, {}, "cannot be saved"),
    (["text"], {}, "'text' (str) among the data is not bytes"),
    (Path("/nowhere/front.png"), {}, "is no file"),
    (PNG, {"name": "../../etc/passwd"}, "must be one part of a path"),
    (PNG, {"name": ".."}, "must be one part of a path"),
    (PNG, {"name": "a\\b"}, "must be one part of a path"),
    (PNG, {"name": "a\nb"}, "must be one part of a path"),
    (PNG, {"name": "a\x00b"}, "NUL"),
    (PNG, {"name": "\ud800"}, "lone surrogate"),
    (PNG, {"name": ""}, "1 to 200 letters"),
    (PNG, {"name": "x" * 201}, "1 to 200 letters"),
    (PNG, {"name": 7}, "1 to 200 letters, not 7"),
    (PNG, {"content_type": "png"}, "must be a type such as"),
    (PNG, {"content_type": "image/png\r\nx-evil: 1"}, "must be a type such as"),
    (PNG, {"content_type": 7}, "must be a type such as"),
)


def test_what_cannot_be_saved_is_refused_with_its_value_and_nothing_is_stored(
    sqlite: str, router: jobq.Router, folder: Folder
) -> None:
    @router.handler("paint", retry=jobq.Retry(max_attempts=1))
    async def paint(number: int, job: jobq.JobContext) -> None:
        data, options, _ = REFUSED[number]
        await job.save(data, **options)

    with jobq.Queue(sqlite, router=router, artifacts=folder.storage) as queue:
        jobs = [queue.enqueue("paint", number) for number in range(len(REFUSED))]
        drain(queue)
        for asked, (*_, said) in zip(jobs, REFUSED, strict=True):
            job = queue.get(asked)
            assert said in str(job.error)
            assert job.error_code == "OptionError"
            assert queue.artifacts(job) == []
    assert not folder.storage.folder.exists()


def test_a_def_handler_cannot_read_an_asynchronous_iterator(
    sqlite: str, router: jobq.Router
) -> None:
    @router.handler("paint")
    def paint(payload: dict[str, Any], job: jobq.SyncJobContext) -> None:
        job.save(chunks(None, None))

    with jobq.Queue(sqlite, router=router) as queue:
        assert "needs an `async def` handler" in str(painted(queue).error)


def test_a_large_stream_needs_little_memory(
    sqlite: str, router: jobq.Router, folder: Folder
) -> None:
    async def large(payload: Any, job: Any) -> AsyncIterator[bytes]:
        piece = b"x" * 1_000_000
        for _ in range(64):
            yield piece

    saving(router, large)
    with jobq.Queue(sqlite, router=router, artifacts=folder.storage) as queue:
        tracemalloc.start()
        try:
            job = painted(queue)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert only(queue, job).bytes == 64_000_000
    assert peak < 20_000_000


# --- retries ------------------------------------------------------------------------------------


def test_what_a_retried_attempt_saved_is_never_stored(
    gallery: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    saving(router, lambda _, job: PNG + bytes([job.attempt]), name="door.png")
    job = gallery.enqueue("paint", {"fails": 1})
    drain(gallery)
    assert [one.status for one in gallery.artifacts(job)] == ["uploading"]
    drain(gallery, with_scheduled=True)
    assert gallery.get(job).status == "completed"
    assert [one.status for one in gallery.artifacts(job)] == ["uploading", "stored"]


def test_what_the_last_attempt_saved_is_stored_although_it_failed(
    gallery: jobq.Queue, router: jobq.Router
) -> None:
    saving(router, PNG)
    job = gallery.enqueue("paint", {"fails": 2})
    drain(gallery, with_scheduled=True)
    assert gallery.get(job).status == "failed"
    assert [one.status for one in gallery.artifacts(job)] == ["uploading", "stored"]


def test_a_job_that_is_run_again_replaces_what_it_had_stored(
    gallery: jobq.Queue, router: jobq.Router, folder: Folder, clock: FrozenClock
) -> None:
    saving(router, lambda payload, job: PNG + str(job.started_at).encode(), name="door.png")
    job = gallery.enqueue("paint", {"fails": 2}, max_attempts=1)
    drain(gallery)
    clock.advance(DAY)
    gallery.retry(job)
    drain(gallery)
    assert [one.status for one in gallery.artifacts(job)] == ["replaced", "stored"]
    clock.advance(DAY * 1.1)
    assert gallery.sweep_artifacts(dry_run=False).objects == 1
    assert folder.keys() == [only(gallery, job).key]


def test_of_what_is_saved_twice_under_one_name_the_last_one_counts(
    gallery: jobq.Queue, router: jobq.Router
) -> None:
    @router.handler("paint")
    async def paint(payload: dict[str, Any], job: jobq.JobContext) -> str:
        await job.save(b"a first draft", name="door.txt")
        return (await job.save(b"the final one", name="door.txt")).sha256

    job = painted(gallery)
    statuses = {one.sha256 == job.result: one.status for one in gallery.artifacts(job)}
    assert statuses == {False: "uploading", True: "stored"}


def test_a_late_attempt_can_save_nothing(
    gallery: jobq.Queue, router: jobq.Router, folder: Folder
) -> None:
    told: list[type] = []

    @router.handler("paint")
    def paint(payload: dict[str, Any], job: jobq.SyncJobContext) -> None:
        with jobq.Queue(gallery._config.url) as other:
            other.set_status(job.id, "failed", error="an operator ended it")
        try:
            job.save(PNG)
        except jobq.LeaseLost as error:
            told.append(type(error))
            raise

    job = painted(gallery)
    assert told == [jobq.LeaseLost]
    assert gallery.artifacts(job) == []
    assert folder.keys() == []


def test_a_row_that_is_written_again_because_its_answer_was_lost_is_there_once(
    gallery: jobq.Queue, router: jobq.Router
) -> None:
    @router.handler("paint")
    async def paint(payload: dict[str, Any], job: jobq.JobContext) -> list[str]:
        run, keys = job._attempt.place.run, []

        async def twice(op: Any, **given: Any) -> Any:
            found = [await run(op, **given) for _ in range(2)]
            keys.extend(one.id for one in found)
            return found[1]

        place = SimpleNamespace(run=twice)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(job._attempt), "place", place)
            await job.save(PNG)
        return keys

    job = painted(gallery)
    assert job.result == [only(gallery, job).id] * 2


def test_saving_nothing_costs_a_job_nothing(
    gallery: jobq.Queue, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["jobq.backends.ops.finish"]
    store, calls = module.store_artifacts, []
    monkeypatch.setattr(module, "store_artifacts", lambda *a: calls.append(a) or store(*a))

    @router.handler("rest")
    async def rest() -> None: ...

    gallery.enqueue("rest")
    assert drain(gallery) == 1
    assert calls == []
    assert "storage" not in vars(gallery._config)
    saving(router, PNG)
    painted(gallery)
    assert len(calls) == 1


# --- the same bytes -----------------------------------------------------------------------------


def test_two_jobs_that_save_the_same_share_one_object(
    url: str, router: jobq.Router, place: Place
) -> None:
    saving(router, PNG)
    with jobq.Queue(url, router=router, artifacts=place.storage) as queue:
        jobs = [queue.enqueue("paint", {}) for _ in range(2)]
        assert drain(queue, concurrency=2) == 2
        assert [only(queue, job).status for job in jobs] == ["stored", "stored"]
    assert place.keys() == [KEY]


class Held(FileStorage):
    """A folder whose deletions wait until they are let go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.deleting, self.let_go = threading.Event(), threading.Event()

    def delete(self, key: str) -> None:
        self.deleting.set()
        assert self.let_go.wait(30)
        super().delete(key)


def test_what_is_saved_while_a_sweep_deletes_the_same_is_not_lost(
    url: str, router: jobq.Router, folder: Folder, clock: FrozenClock
) -> None:
    held = Held(folder.storage.folder)
    saving(router, PNG)
    with jobq.Queue(url, router=router, artifacts=held, clock=clock) as queue:
        leave_litter(queue)
        clock.advance(DAY * 1.1)
        sweeper = threading.Thread(target=queue.sweep_artifacts, kwargs={"dry_run": False})
        sweeper.start()
        try:
            assert held.deleting.wait(30)
            job = painted(queue)
        finally:
            held.let_go.set()
            sweeper.join(30)
        stored = [one for one in queue.artifacts(job) if one.status == "stored"]
        assert [folder.content(one.key) for one in stored] == [PNG]
        assert folder.keys() == [stored[0].key] != [KEY]
        clock.advance(DAY * 1.1)
        assert queue.sweep_artifacts(dry_run=False).rows == 1  # the place that it moved away from
        assert folder.keys() == [stored[0].key]
        assert queue.sweep_artifacts().rows == 0


def test_a_sweep_that_marks_while_a_job_saves_the_same_looks_again_before_it_deletes(
    postgres: str, router: jobq.Router, folder: Folder, clock: FrozenClock
) -> None:
    saving(router, PNG)
    with (
        jobq.Queue(postgres, router=router, artifacts=folder.storage, clock=clock) as queue,
        psycopg.connect(postgres) as connection,
    ):
        id = only(queue, leave_litter(queue)).id
        run, dialect = backends.callers.run, queue._store().dialect
        assert run(dialect, connection, backends.ops.take_swept, id)
        job = painted(queue)  # it sees no mark yet
        connection.commit()
        assert not queue._store().run(backends.ops.is_still_swept, id)
        assert only(queue, job).key == KEY
        clock.advance(DAY * 1.1)
        assert queue.sweep_artifacts().rows == 0


def leave_litter(queue: jobq.Queue, content: bytes = PNG) -> jobq.Job:
    """A failed job whose upload never became part of its outcome."""
    if queue.router.get("litter") is None:

        @queue.router.handler("litter", retry=jobq.Retry(max_attempts=1))
        async def litter(payload: dict[str, Any], job: jobq.JobContext) -> None:
            await job.save(bytes.fromhex(payload["hex"]))
            job._attempt.uploads._done.clear()  # as where the process ended here

    job = queue.enqueue("litter", {"hex": content.hex()})
    drain(queue)
    return job


# --- sweeping -----------------------------------------------------------------------------------


def test_a_sweep_only_looks_unless_it_is_told_to_delete(
    gallery: jobq.Queue, folder: Folder, clock: FrozenClock
) -> None:
    leave_litter(gallery)
    assert gallery.sweep_artifacts().rows == 0  # its job has just finished
    clock.advance(DAY * 1.1)
    looked = gallery.sweep_artifacts()
    assert (looked.rows, looked.objects, looked.bytes, looked.dry_run) == (1, 1, len(PNG), True)
    assert folder.keys() == [KEY]
    swept = gallery.sweep_artifacts(dry_run=False)
    assert (swept.rows, swept.objects, swept.bytes, swept.dry_run) == (1, 1, len(PNG), False)
    assert folder.keys() == []
    assert gallery.sweep_artifacts().rows == 0


def test_a_sweep_leaves_jobs_alone_that_go_on(
    gallery: jobq.Queue, router: jobq.Router, folder: Folder, clock: FrozenClock
) -> None:
    saving(router, PNG)
    gallery.enqueue("paint", {"fails": 1})
    drain(gallery)
    clock.advance(DAY * 30)
    assert gallery.sweep_artifacts(dry_run=False).rows == 0
    assert folder.keys() == [KEY]


def test_a_sweep_keeps_what_another_row_names(
    gallery: jobq.Queue, router: jobq.Router, folder: Folder, clock: FrozenClock
) -> None:
    saving(router, PNG)
    litter, job = leave_litter(gallery), painted(gallery)
    clock.advance(DAY * 1.1)
    swept = gallery.sweep_artifacts(dry_run=False)
    assert (swept.rows, swept.objects) == (1, 0)
    assert folder.content(only(gallery, job).key) == PNG
    assert gallery.artifacts(litter) == []


def test_of_several_rows_that_nobody_wants_the_last_one_takes_the_object_along(
    gallery: jobq.Queue, folder: Folder, clock: FrozenClock
) -> None:
    for _ in range(3):
        leave_litter(gallery)
    clock.advance(DAY * 1.1)
    swept = gallery.sweep_artifacts(dry_run=False)
    assert (swept.rows, swept.objects) == (3, 1)
    assert folder.keys() == []


def test_a_sweep_that_was_cut_off_is_taken_up_later(
    url: str, router: jobq.Router, folder: Folder, clock: FrozenClock
) -> None:
    class Broken(FileStorage):
        def delete(self, key: str) -> None:
            raise StorageUnavailable("no answer")

    broken = Broken(folder.storage.folder)
    with jobq.Queue(url, router=router, artifacts=broken, clock=clock) as queue:
        leave_litter(queue)
        clock.advance(DAY * 1.1)
        with pytest.raises(StorageUnavailable):
            queue.sweep_artifacts(dry_run=False)
    with jobq.Queue(url, router=router, artifacts=folder.storage, clock=clock) as queue:
        assert queue.sweep_artifacts(dry_run=False).objects == 0  # the other may be at it yet
        clock.advance(timedelta(hours=1.1))
        assert queue.sweep_artifacts(dry_run=False).objects == 1
    assert folder.keys() == []


def test_pruning_and_then_sweeping_deletes_nothing_that_was_stored(
    url: str, router: jobq.Router, place: Place, clock: FrozenClock
) -> None:
    saving(router, PNG)
    with jobq.Queue(url, router=router, artifacts=place.storage, clock=clock) as queue:
        job, litter = painted(queue), leave_litter(queue, b"a first draft")
        clock.advance(DAY * 31)
        assert queue.cleanup_old_jobs(30) == 2
        swept = queue.sweep_artifacts(dry_run=False)
        assert (swept.rows, swept.objects) == (1, 1)
        assert only(queue, job).status == "stored"
        assert queue.artifacts(litter) == []
    assert place.keys() == [KEY]
    assert place.content(KEY) == PNG


async def test_artifacts_are_listed_and_swept_asynchronously_too(
    gallery: jobq.Queue, clock: FrozenClock
) -> None:
    job = await asyncio.to_thread(leave_litter, gallery)
    clock.advance(DAY * 1.1)
    assert [one.status for one in await gallery.aio.artifacts(job.id)] == ["uploading"]
    assert (await gallery.aio.sweep_artifacts(dry_run=False)).objects == 1
    await gallery.aio.aclose()


@pytest.mark.parametrize("older_than", [-1, "a day", float("nan"), True])
def test_how_old_litter_has_to_be_is_checked(sqlite: str, older_than: Any) -> None:
    with jobq.Queue(sqlite) as queue, pytest.raises(jobq.OptionError, match="older_than"):
        queue.sweep_artifacts(older_than=older_than)
