"""What OpenAPI says holds: no 500, no undocumented status, no other content (`nox -s openapi`).

The name keeps it out of the usual run: schemathesis makes thousands of requests, and is installed
for this alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastapi
import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

import jobq
import jobq.http
from jobq.contrib.fastapi import drive_router, jobs_router
from jobq.http.routes import DRIVE_ALONE
from tests.contract.adapters import uvicorn_on

KEY = "a-key-of-the-drive-endpoint"


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The API as FastAPI describes it, with jobs in many states."""
    folder: Path = tmp_path_factory.mktemp("openapi")
    router = jobq.Router()

    @router.handler("add")
    def add(payload: dict, job: jobq.SyncJobContext) -> None: ...

    with jobq.Queue(f"sqlite:///{folder}/jobs.db", router=router) as queue:
        for status in ("completed", "failed", "cancelled", "pending"):
            queue.set_status(queue.enqueue("other", {}, owner="ada"), status)
        app = fastapi.FastAPI()
        times = {"longest_wait": 0.05, "longest_stream": 0.1, "time_budget": 1.0}
        jobs = jobs_router(queue, owner=lambda: "ada", allow=["add"], keys=[KEY], **times)
        app.include_router(jobs, prefix="/jobs")
        app.include_router(drive_router(queue, keys=[KEY], time_budget=1.0), prefix="/workers")
        with uvicorn_on(app) as root:
            yield schemathesis.openapi.from_url(f"{root}/openapi.json")


ROUTES = [f"{route.method} /jobs{route.path}" for route in jobq.http.ROUTES] + [
    f"{route.method} /workers{DRIVE_ALONE[route.path]}"
    for route in jobq.http.ROUTES
    if route.part == "drive"
]


@pytest.mark.parametrize("route", ROUTES)
def test_every_answer_is_a_documented_one(described: Any, route: str) -> None:
    method, _, path = route.partition(" ")
    operation = described[path][method]
    # No schema can say what jobq stores: no NUL, no integer of more than 64 bits, 100 levels.
    beyond = [positive_data_acceptance] if route == "POST /jobs" else []

    @hypothesis.given(case=hypothesis.strategies.data())
    @hypothesis.settings(
        max_examples=int(os.environ.get("JOBQ_EXAMPLES", "40")),
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        database=None,
    )
    def ask(case: Any) -> None:
        mode = case.draw(hypothesis.strategies.sampled_from(schemathesis.GenerationMode))
        asked = case.draw(operation.as_strategy(generation_mode=mode))
        asked.call_and_validate(headers={"x-api-key": KEY}, timeout=30, excluded_checks=beyond)

    ask()


def test_every_described_operation_is_tried(described: Any) -> None:
    found = [result.ok() for result in described.get_all_operations()]
    assert {f"{one.method.upper()} {one.path}" for one in found} == set(ROUTES)
