"""A worker inside an app, and the app's own life around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request, Response
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

import jobq
from jobq.contrib.fastapi import accepted, get_queue, jobs_router, worker_lifespan

ADD = {"a": 1, "b": 2}
SCHEMES = {"postgresql": "postgresql+psycopg"}
Queue = Annotated[jobq.AsyncQueue, Depends(get_queue)]


def finished(client: TestClient, place: str) -> Any:
    answer = client.get(place, params={"wait": 20}, headers={"x-user": "ada"})
    assert answer.status_code == 200
    return answer.json()


def user() -> str:
    return "ada"


def test_a_worker_starts_after_the_apps_own_lifespan_and_ends_before_it(
    queue: jobq.Queue, router: jobq.Router
) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        told.append(f"begins with {alive(await queue.aio.workers())} workers")
        yield {"greeting": "hello"}
        told.append(f"ends with {alive(await queue.aio.workers())} workers")
        await queue.aio.aclose()

    app = FastAPI(lifespan=worker_lifespan(queue.aio, inner=own, concurrency=2))
    app.include_router(jobs_router(queue.aio, owner=user), prefix="/jobs")

    @app.post("/own")
    async def create(request: Request, jobs: Queue) -> Response:
        job = await jobs.enqueue("add", ADD, owner="ada", metadata={"said": request.state.greeting})
        return accepted(request, job)

    with TestClient(app) as client:
        made = client.post("/own")
        assert made.status_code == 202
        assert finished(client, made.headers["location"])["result"] == 3
        assert alive(queue.workers()) == 1
    assert told == ["begins with 0 workers", "ends with 0 workers"]
    assert queue.get(made.json()["jobId"]).metadata == {"said": "hello"}


def alive(workers: list[jobq.WorkerInfo]) -> int:
    return sum(worker.alive for worker in workers)


def test_an_app_may_live_again(queue: jobq.Queue) -> None:
    app = FastAPI(lifespan=worker_lifespan(queue))
    for _ in range(2):
        with TestClient(app):
            job = queue.enqueue("add", ADD)
            assert queue.wait(job, 20).result == 3
    assert alive(queue.workers()) == 0


def test_wrong_options_of_the_worker_are_told_of_where_they_are_written(queue: jobq.Queue) -> None:
    with pytest.raises(jobq.ConfigurationError, match="concurrency=0"):
        worker_lifespan(queue, concurrency=0)


def test_a_job_of_the_requests_session_is_there_with_its_rows_or_not_at_all(
    queue: jobq.Queue, url: str
) -> None:
    queue.counts()
    scheme, _, rest = url.partition("://")
    engine = create_engine(f"{SCHEMES.get(scheme, scheme)}://{rest}")
    app = FastAPI()
    app.include_router(jobs_router(queue), prefix="/jobs")

    @app.post("/own")
    def create(request: Request, fails: bool = False) -> Response:
        with Session(engine) as session, session.begin():
            session.execute(text("SELECT 1"))
            job = queue.enqueue("add", ADD, session=session)
            if fails:
                raise RuntimeError("the request goes wrong")
        return accepted(request, job)

    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post("/own", params={"fails": True}).status_code == 500
        assert queue.counts()["pending"] == 0
        made: httpx.Response = client.post("/own")
        assert made.status_code == 202
        assert queue.get(made.json()["jobId"]).status == "pending"
    engine.dispose()


def test_get_queue_says_what_is_missing() -> None:
    app = FastAPI()

    @app.get("/")
    async def look(jobs: Queue) -> None: ...

    with TestClient(app) as client, pytest.raises(jobq.ConfigurationError, match="no jobs_router"):
        client.get("/")
