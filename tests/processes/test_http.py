"""Servers as processes: with workers inside them, killed in the middle of a call, reloaded."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import jobq

ROOT = Path(__file__).parent.parent.parent
KEY = "a-key-of-the-drive-endpoint"
APP = """
import os, time
from pathlib import Path
from fastapi import FastAPI
import jobq
from jobq.contrib.fastapi import drive_router, jobs_router, worker_lifespan

router = jobq.Router()
notes = Path(os.environ["NOTES"])

def note(word):
    with notes.open("a") as file:
        file.write(word + "\\n")

@router.handler("quick")
def quick(payload: dict, job: jobq.SyncJobContext) -> None:
    note(f"quick {payload['n']}")

@router.handler("slow")
def slow(payload: dict, job: jobq.SyncJobContext) -> int:
    note(f"slow {job.attempt}")
    if job.attempt == 1:
        time.sleep(600)
    return job.attempt

queue = jobq.AsyncQueue(os.environ["QUEUE_URL"], router=router)
app = FastAPI(lifespan=worker_lifespan(queue) if "EMBEDDED" in os.environ else None)
app.include_router(drive_router(queue, time_budget=5), prefix="/workers")
app.include_router(jobs_router(queue), prefix="/jobs")

@app.get("/pid")
def pid() -> int:
    return os.getpid()
"""


class Server:
    """A uvicorn server in processes of its own."""

    def __init__(self, folder: Path, url: str, *options: str, **environment: str) -> None:
        self.notes = folder / "notes"
        self.source = folder / "served.py"
        self.source.write_text(APP)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.root = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "uvicorn", "served:app", "--port", str(port), *options]
        known = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "NOTES": str(self.notes)}
        more = {"QUEUE_URL": url, "WORKER_SECRET": KEY, "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            [*command, "--log-level", "warning"],
            cwd=folder,
            env=os.environ | known | more | environment,
        )
        until(self.answers)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.root}/pid", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def pid(self) -> int:
        return int(httpx.get(f"{self.root}/pid", timeout=30).text)

    def has_restarted(self, before: int) -> bool:
        """Whether another process answers; the one before may go in the middle of an answer."""
        try:
            return self.pid() != before
        except httpx.HTTPError:
            return False

    def work(self) -> dict[str, Any]:
        answer = httpx.post(f"{self.root}/workers", headers={"x-api-key": KEY}, timeout=60)
        report: dict[str, Any] = answer.json()
        return report

    def noted(self) -> Counter[str]:
        return Counter(self.notes.read_text().split("\n")[:-1] if self.notes.exists() else [])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def cut_off(server: Server) -> None:
    """A call that is never answered."""
    with pytest.raises(httpx.HTTPError):
        server.work()


def until(condition: Callable[[], Any], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.05)


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path, url: str) -> Iterator[Serve]:
    servers: list[Server] = []

    def begin(*options: str, **environment: str) -> Server:
        servers.append(Server(tmp_path, url, *options, **environment))
        return servers[-1]

    yield begin
    for server in servers:
        server.end()


@pytest.mark.timeout(180)
def test_a_job_of_a_process_that_was_killed_in_the_middle_of_a_call_is_run_again(
    queue: jobq.Queue, serve: Serve
) -> None:
    server = serve()
    job = queue.enqueue("slow", {})
    call = threading.Thread(target=cut_off, args=[server])
    call.start()
    until(lambda: server.noted()["slow 1"] == 1)
    server.process.kill()
    call.join()
    held = queue.get(job)
    assert held.status == "processing"
    assert held.lease_until is not None
    assert held.started_at is not None
    assert (held.lease_until - held.started_at).total_seconds() <= 15
    heir = serve()
    until(lambda: heir.work()["completed"] == 1)
    assert queue.get(job).result == 2
    assert heir.noted() == {"slow 1": 1, "slow 2": 1}
    assert heir.stop() in (0, -signal.SIGTERM)  # uvicorn ends by the signal that it was sent


@pytest.mark.timeout(180)
def test_two_servers_each_with_a_worker_inside_run_no_job_twice(
    queue: jobq.Queue, serve: Serve
) -> None:
    server = serve("--workers", "2", EMBEDDED="1")
    queue.enqueue_many(("quick", {"n": n}) for n in range(60))
    until(lambda: queue.counts()["completed"] == 60)
    assert set(server.noted().values()) == {1}
    assert server.stop() == 0
    assert not any(worker.alive for worker in queue.workers())


@pytest.mark.timeout(180)
def test_a_reloaded_server_goes_on_with_its_jobs(queue: jobq.Queue, serve: Serve) -> None:
    server = serve("--reload", EMBEDDED="1")
    before = server.pid()
    queue.enqueue("quick", {"n": 1})
    until(lambda: queue.counts()["completed"] == 1)
    server.source.write_text(APP + "\n# changed\n")
    until(lambda: server.has_restarted(before))
    queue.enqueue("quick", {"n": 2})
    until(lambda: queue.counts()["completed"] == 2)
    assert server.noted() == {"quick 1": 1, "quick 2": 1}
    assert server.stop() == 0
    assert not any(worker.alive for worker in queue.workers())
