"""The drive endpoint, below the routes of jobs and mounted alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

import jobq
from jobq.testing import FrozenClock
from tests.contract.conftest import KEY, Site, Start

SUM = {"a": 1, "b": 2}
BY_KEY = {"x-api-key": KEY}
IN_DEBUG = "dev-secret-change-in-production"


def run(site: Site, path: str = "/process", **query: Any) -> dict[str, Any]:
    """What a call of the drive endpoint came to."""
    answer = site.client(None, **BY_KEY).post(path, params=query)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    return report


def test_a_call_runs_what_is_due_and_says_what_came_of_it(site: Site) -> None:
    done = site.queue.enqueue("add", SUM)
    failed = site.queue.enqueue("fail", {})
    site.queue.enqueue("add", SUM, delay=timedelta(days=1))
    report = run(site)
    later = site.queue.pending()[0].to_dict()["runAt"]
    assert report.pop("elapsedMs") >= 0
    assert report == {
        "success": True,
        "processed": 2,
        "completed": 1,
        "failed": 1,
        "rateLimited": 0,
        "released": 0,
        "remaining": 1,
        "nextRunAt": later,
        "stoppedBecause": "empty",
    }
    assert site.queue.get(done).result == 3
    assert site.queue.get(failed).status == "failed"


@pytest.mark.parametrize("method, path", [("GET", "/cron"), ("POST", "/cron"), ("POST", "")])
def test_every_door_runs_jobs(site: Site, method: str, path: str) -> None:
    site.queue.enqueue("add", SUM)
    client = site.driver(**BY_KEY) if path == "" else site.client(None, **BY_KEY)
    assert client.request(method, path).json()["completed"] == 1


def test_the_cron_job_of_a_drive_endpoint_alone_runs_jobs(site: Site) -> None:
    site.queue.enqueue("add", SUM)
    assert site.driver(**BY_KEY).get("/cron").json()["completed"] == 1


@pytest.mark.parametrize("alone", [False, True])
def test_get_tells_how_the_queue_stands_and_runs_nothing(site: Site, alone: bool) -> None:
    site.queue.enqueue("add", SUM)
    site.queue.pause("slow")
    client = site.driver(**BY_KEY) if alone else site.client(None, **BY_KEY)
    state = client.get("" if alone else "/process").json()
    assert (state["pending"], state["completed"], state["workers"]) == (1, 0, 0)
    assert [(one["queue"], one["paused"]) for one in state["queues"]] == [
        ("default", False),
        ("slow", True),
    ]


def test_max_jobs_bounds_a_call(site: Site) -> None:
    for _ in range(3):
        site.queue.enqueue("add", SUM)
    report = run(site, maxJobs=2)
    assert (report["processed"], report["remaining"]) == (2, 1)
    assert report["stoppedBecause"] == "maxJobs"


@pytest.mark.parametrize("jobs", ["0", "101", "many", "-1", "5.5", ""])
def test_max_jobs_is_a_number_from_1_to_100(site: Site, jobs: str) -> None:
    answer = site.client(None, **BY_KEY).post("/process", params={"maxJobs": jobs})
    assert (answer.status_code, "maxJobs=" in answer.json()["detail"]) == (422, True)


def test_without_the_endpoint_its_paths_are_not_there(start: Start) -> None:
    site = start(drive=False)
    assert site.client(None, **BY_KEY).post("/process").status_code in (404, 405)


# --- keys ---------------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("JOB_PROCESSOR_API_KEY", "WORKER_SECRET", "CRON_SECRET", "JOBQ_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_missing_key_is_401_and_a_wrong_one_403(site: Site) -> None:
    missing = site.driver().post("")
    assert (missing.status_code, missing.headers["www-authenticate"]) == (401, "Bearer")
    assert site.driver(**{"x-api-key": "wrong"}).post("").status_code == 403
    assert site.driver(authorization=f"Basic {KEY}").post("").status_code == 401


def test_a_user_of_the_app_has_no_key(site: Site) -> None:
    assert site.client("ada").post("/process").status_code == 401


@pytest.mark.parametrize("name", ["JOB_PROCESSOR_API_KEY", "WORKER_SECRET", "CRON_SECRET"])
def test_the_environment_names_keys_several_of_them_for_a_rotation(
    start: Start, environment: pytest.MonkeyPatch, name: str
) -> None:
    site = start(keys=None)
    environment.setenv(name, f"{'o' * 16}, {'n' * 16}")
    for key in ("o" * 16, "n" * 16):
        assert site.driver(authorization=f"Bearer {key}").get("").is_success
    assert site.driver(**{"x-api-key": f"{'o' * 16}, {'n' * 16}"}).get("").status_code == 403


@pytest.mark.parametrize("weak", [None, "short", IN_DEBUG])
def test_without_a_strong_key_the_endpoint_is_not_configured(
    start: Start, environment: pytest.MonkeyPatch, weak: str | None
) -> None:
    site = start(keys=None)
    if weak is not None:
        environment.setenv("WORKER_SECRET", weak)
    answer = site.driver(**{"x-api-key": weak or "any"}).post("")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_configured")
    assert "WORKER_SECRET" in answer.json()["detail"]


LEORA = [
    ("POST", "/process", {"x-api-key": "your-secret-key"}),
    ("POST", "/process?maxJobs=5", {"x-api-key": "your-secret-key"}),
    ("GET", "/process", {"x-api-key": "your-secret-key"}),
]


@pytest.mark.parametrize("method, path, headers", LEORA)
@pytest.mark.parametrize("how", ["the app", "JOBQ_DEBUG"])
def test_in_development_the_commands_of_a_guide_work_as_they_are_written(
    start: Start,
    environment: pytest.MonkeyPatch,
    method: str,
    path: str,
    headers: dict[str, str],
    how: str,
) -> None:
    if how == "JOBQ_DEBUG":
        environment.setenv("JOBQ_DEBUG", "1")
    site = start(keys=None, debug=how == "the app")
    assert site.client(None, **headers).request(method, path).status_code == 200


def test_in_development_the_default_worker_secret_opens_the_endpoint(
    start: Start, environment: pytest.MonkeyPatch
) -> None:
    site = start(keys=None, debug=True)
    assert site.driver(authorization=f"Bearer {IN_DEBUG}").post("").status_code == 200


# --- bounds -------------------------------------------------------------------------------------


@pytest.fixture
def long(router: jobq.Router) -> None:
    """A type that takes longer than anybody has."""

    @router.handler("long")
    async def long(payload: dict[str, Any], job: jobq.JobContext) -> None:
        await asyncio.sleep(20)  # ends, where it is not ended


def test_what_cannot_finish_is_given_back_within_the_budget(start: Start, long: None) -> None:
    site = start(time_budget=1.0)
    job = site.queue.enqueue("long", {})
    report = run(site)
    assert (report["released"], report["processed"]) == (1, 0)
    assert (report["remaining"], report["stoppedBecause"]) == (1, "budget")
    job = site.queue.get(job)
    assert (job.status, job.attempts, job.released_count) == ("pending", 0, 1)
    assert job.lease_until is None


def test_a_job_that_never_fits_fails_with_advice(start: Start, long: None) -> None:
    site = start(time_budget=1.0)
    job = site.queue.enqueue("long", {})
    reports = [run(site) for _ in range(3)]
    assert [report["failed"] for report in reports] == [0, 0, 1]
    job = site.queue.get(job)
    assert (job.status, job.error_code) == ("failed", "longer_than_budget")
    assert "JOBQ_TIME_BUDGET" in (job.error or "")
    site.queue.retry(job)
    assert run(site)["released"] == 1  # it has all its chances again


def test_a_lease_ends_soon_after_the_budget(start: Start, router: jobq.Router) -> None:
    leases: list[float] = []

    @router.handler("look")
    def look(payload: dict[str, Any], job: jobq.SyncJobContext) -> None:
        held = site.queue.get(job.id)
        assert held.lease_until is not None
        assert held.started_at is not None
        leases.append((held.lease_until - held.started_at).total_seconds())

    site = start(time_budget=5.0)
    site.queue.enqueue("look", {})
    run(site)
    assert leases[0] <= 15.0


def test_a_budgets_jobs_run_side_by_side(start: Start, router: jobq.Router) -> None:
    meeting = threading.Barrier(4, timeout=20)

    @router.handler("meet")
    def meet(payload: dict[str, Any], job: jobq.SyncJobContext) -> None:
        meeting.wait()

    site = start(concurrency=4)
    for _ in range(4):
        site.queue.enqueue("meet", {})
    assert run(site)["completed"] == 4


def test_a_closed_limit_stops_a_call(start: Start, router: jobq.Router) -> None:
    @router.handler("limited", limits=[jobq.RateLimit("provider", 1, per=3600)])
    def limited(payload: dict[str, Any], job: jobq.SyncJobContext) -> None: ...

    site = start()
    for _ in range(3):
        site.queue.enqueue("limited", {})
    report = run(site)
    assert (report["completed"], report["remaining"]) == (1, 2)
    assert report["stoppedBecause"] == "limited"
    assert report["nextRunAt"] is not None


# --- instead of workers -------------------------------------------------------------------------


def lose(site: Site, job: jobq.Job) -> None:
    """A worker takes a job and is never seen again."""
    from jobq import backends
    from jobq.backends import ops

    store: backends.Store = site.queue._config.store()
    try:
        [claimed] = store.run(
            ops.claim,
            queues=["default"],
            types=[job.type],
            slots=1,
            worker="lost",
            lease=1,
            margin=0,
        )
        assert claimed.id == job.id
    finally:
        store.close()


def test_a_call_takes_over_what_a_dead_process_left(site: Site) -> None:
    job = site.queue.enqueue("add", SUM)
    lose(site, job)
    assert run(site)["completed"] == 1
    assert site.queue.get(job).crash_count == 1


def test_a_call_takes_over_before_it_runs_anything(site: Site) -> None:
    lost = site.queue.enqueue("add", SUM, priority="urgent")
    lose(site, lost)
    other = site.queue.enqueue("add", SUM)
    assert run(site, maxJobs=1)["processed"] == 1
    assert site.queue.get(lost).status == "completed"
    assert site.queue.get(other).status == "pending"


def test_a_call_ends_what_has_expired(site: Site) -> None:
    job = site.queue.enqueue("unknown here", {})
    soon = site.queue.get(job).created_at + timedelta(milliseconds=1)
    job = site.queue.enqueue("unknown here", {}, expires_at=soon)
    run(site)
    assert site.queue.get(job).error_code == "expired"


def test_a_call_declares_jobs_whose_enqueuer_did_not_know_them(site: Site, url: str) -> None:
    with jobq.Queue(url, router=jobq.Router()) as elsewhere:
        job = elsewhere.enqueue("add", SUM)
    run(site)
    assert site.queue.get(job).result == 3


def test_a_call_prunes_what_is_past_its_retention(
    start: Start, url: str, router: jobq.Router
) -> None:
    clock = FrozenClock()
    with jobq.Queue(url, router=router, clock=clock) as queue:
        site = start(queue)
        job = queue.enqueue("add", SUM, keep=60)
        run(site)
        assert queue.get(job).status == "completed"
        clock.advance(timedelta(seconds=61))
        run(site)
        with pytest.raises(jobq.JobNotFound):
            queue.get(job)


def test_overlapping_calls_run_each_job_once(start: Start, router: jobq.Router) -> None:
    ran: list[int] = []

    @router.handler("count")
    def count(payload: dict[str, int], job: jobq.SyncJobContext) -> None:
        ran.append(payload["n"])

    site = start()
    for n in range(40):
        site.queue.enqueue("count", {"n": n})
    call: Callable[[int], dict[str, Any]] = lambda _: run(site, maxJobs=10)  # noqa: E731
    with ThreadPoolExecutor(2) as pairs:
        for _ in range(20):
            if sum(report["processed"] for report in pairs.map(call, range(2))) == 0:
                break
    assert sorted(ran) == list(range(40))
