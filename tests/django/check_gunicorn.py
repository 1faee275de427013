"""The HTTP API behind gunicorn: processes that were forked, with threads and without.

`nox -s contract` runs it; the name keeps it out of the usual run, which has no gunicorn.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connections

from jobq.contrib.django import DjangoQueue
from tests.django.shop.models import Order
from tests.servers import Servers

pytestmark = pytest.mark.timeout(180)
KEY = "a-key-of-the-drive-endpoint"
SETTINGS = f"""
from tests.django.site import *
ROOT_URLCONF = "served_urls"
JOBQ = {{"OWNER": "served_urls.user_of", "ALLOW": ["shop.total", "shop.slow"], "KEYS": ["{KEY}"],
    "TIME_BUDGET": 20.0, "LONGEST_STREAM": 2.0}}
"""
URLS = """
import os
from django.http import JsonResponse
from django.urls import include, path

def user_of(request):
    return request.headers.get("x-user")

urlpatterns = [
    path("", lambda request: JsonResponse({"pid": os.getpid(), "parent": os.getppid()})),
    path("jobs/", include("jobq.contrib.django.urls")),
]
"""
WSGI = "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"
WAYS = {
    "processes": ["--workers", "2"],
    "threads": ["--workers", "2", "--threads", "8"],
    "forked-late": ["--workers", "2", "--threads", "8", "--preload"],
}


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    started = Servers(tmp_path)
    try:
        yield started
    finally:
        started.end()


@pytest.fixture(params=list(WAYS))
def root(request: pytest.FixtureRequest, servers: Servers, alias: str) -> str:
    """The address of a project that gunicorn serves."""
    for name, source in {"settings": SETTINGS, "urls": URLS, "wsgi": WSGI}.items():
        (servers.folder / f"served_{name}.py").write_text(source)
    settings = connections[alias].settings_dict
    keys = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    return servers.gunicorn(
        "served_wsgi:application",
        *WAYS[request.param],
        DJANGO_SETTINGS_MODULE="served_settings",
        SITE_DATABASE=json.dumps({key: settings[key] for key in keys}),
    )


@pytest.fixture
def client(root: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=root, headers={"x-user": "ada"}, timeout=60) as client:
        yield client


def work(client: httpx.Client) -> dict[str, Any]:
    answer = client.post("/jobs/process", headers={"x-api-key": KEY})
    assert answer.status_code == 200
    report: dict[str, Any] = answer.json()
    return report


def test_a_job_is_created_run_awaited_and_followed(client: httpx.Client, alias: str) -> None:
    Order.objects.using(alias).create(total=4)
    made = client.post("/jobs/", json={"type": "shop.total", "payload": {"using": "default"}})
    assert made.status_code == 202
    place = made.headers["location"]
    assert client.get(place, headers={"x-user": "grace"}).status_code == 403
    assert work(client)["completed"] == 1
    shown = client.get(place, params={"wait": 5})
    assert (shown.json()["status"], shown.json()["result"]) == ("completed", 4)
    assert client.get(place, headers={"if-none-match": shown.headers["etag"]}).status_code == 304
    stream = client.get(f"{place}/events").text
    assert "event: end" in stream
    assert '"status":"completed"' in stream


def test_a_long_poll_hears_of_what_another_process_did(client: httpx.Client) -> None:
    made = client.post("/jobs/", json={"type": "shop.slow", "payload": {"seconds": 0.2}})
    place = made.headers["location"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.get, place, params={"wait": 20})
        assert work(client)["completed"] == 1
        assert waiting.result().json()["status"] == "completed"


def test_twenty_pairs_of_overlapping_calls_run_each_job_once(
    client: httpx.Client, queue: DjangoQueue
) -> None:
    jobs = [queue.enqueue("shop.slow", {"seconds": 0.01}) for _ in range(40)]
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: work(client), range(40)))
    assert sum(report["completed"] for report in reports) == 40
    assert [job.attempts for job in queue.get_many(jobs)] == [1] * 40


def test_sigterm_lets_a_call_end(client: httpx.Client, queue: DjangoQueue) -> None:
    job = queue.enqueue("shop.slow", {"seconds": 2})
    master = client.get("/").json()["parent"]
    reports: list[dict[str, Any]] = []
    call = threading.Thread(target=lambda: reports.append(work(client)))
    call.start()
    while queue.get(job).status == "pending":
        call.join(0.05)
    os.kill(master, signal.SIGTERM)
    call.join()
    assert [report["completed"] for report in reports] == [1]
    assert queue.get(job).status == "completed"
