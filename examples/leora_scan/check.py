"""What a platform does to Leora: it calls, calls twice, kills, and counts the seconds."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import httpx
import sqlalchemy

from examples.fakegemini import FakeGemini, Options
from examples.trial import Site, Trial, letting_go, under_way, wait_until

KEY = "a-long-secret-for-the-job-processor"
CRON = "another-long-secret-for-vercel-cron"
RPM, SPEED, BUDGET = 30, 10, 5
CURL = """
curl -X POST http://localhost:3000/api/jobs/process \
  -H "x-api-key: your-secret-key"
curl -X POST "http://localhost:3000/api/jobs/process?maxJobs=5" \
  -H "x-api-key: your-secret-key"
curl -X GET http://localhost:3000/api/jobs/process \
  -H "x-api-key: your-secret-key"
"""
USERS = """
from django.contrib.auth.models import User
for name in ("ada", "grace"):
    User.objects.create_user(name, password="secret")
User.objects.create_superuser("boss", password="secret")
"""
WAIT = """
import json, time
from jobq.contrib.django import queue
from jobq.http import trigger_worker
for job, most in (("{job}", 20_000), ("{later}", 1000)):
    began = time.monotonic()
    answer = trigger_worker(queue, wait_for_job_id=job, timeout_ms=most)
    seconds = time.monotonic() - began
    print(json.dumps(answer | dict(seconds=seconds, at=time.time())))
"""


def check(trial: Trial) -> None:
    claude = prepare(trial)
    documented(trial)
    production = {
        "JOB_PROCESSOR_API_KEY": KEY,
        "CRON_SECRET": CRON,
        "JOBQ_TIME_BUDGET": f"{BUDGET}",
    }
    trial.env(**production)
    site = serve(trial)
    ada, grace, boss = (signed_in(site, name) for name in ("ada", "grace", "boss"))

    doors(trial, site)
    process(site)  # declares the limits
    trial.hurry(SPEED)
    jobs = drained(trial, site, ada)
    visible(trial, jobs[0], ada, grace, boss)
    overlapping(trial, site, ada, claude)
    killed(trial, claude)
    too_long(trial, claude)
    awaited(trial)
    trial.table.equal("429s", 0, claude.ledger.outcomes()["rate_limited"])
    cleaned_up(trial, jobs)


def play(trial: Trial) -> None:
    prepare(trial)
    site = serve(trial, DEBUG="1", WORKER_SECRET="")
    print(f"{site.url}/admin/ (ada or boss, password: secret); then as in the README:{CURL}")


def prepare(trial: Trial) -> FakeGemini:
    claude = trial.provider(Options(rpm=RPM, speed=SPEED, latency=0.3 * SPEED, seed=3))
    trial.env(
        ANTHROPIC_URL=claude.url,
        ANTHROPIC_API_KEY="made-up",
        CLAUDE_RPM=str(RPM),
        MEDIA_ROOT=str(trial.folder / "media"),
    )
    manage(trial, "migrate", "--verbosity", "0")
    manage(trial, "shell", "-c", USERS)
    return claude


def manage(trial: Trial, *command: str) -> str:
    return trial.run("examples.leora_scan.manage", *command)


def serve(trial: Trial, **env: str) -> Site:
    return trial.serve("examples.leora_scan.asgi:application", **env)


def signed_in(site: Site, name: str) -> httpx.Client:
    """A client with a session, as a browser has after the login page."""
    client = httpx.Client(base_url=site.url, timeout=30)
    client.get("/login")
    form = {"username": name, "password": "secret", "next": "/api/jobs"}
    form["csrfmiddlewaretoken"] = client.cookies["csrftoken"]
    client.post("/login", data=form)
    client.headers["x-csrftoken"] = client.cookies["csrftoken"]
    return client


def scan(client: httpx.Client, name: str = "card") -> str:
    """Upload a card; the id of its job."""
    files = {"file": (f"{name}.jpg", b"a picture", "image/jpeg")}
    return str(client.post("/api/scan/business-card", files=files).json()["jobId"])


def process(site: Site, most: int = 5) -> dict[str, Any]:
    answer = site.post(f"/api/jobs/process?maxJobs={most}", headers={"x-api-key": KEY})
    return dict(answer.raise_for_status().json())


def documented(trial: Trial) -> None:
    """The document's own lines, in development."""
    site = serve(trial, DEBUG="1")
    port = site.url.rpartition(":")[2]
    codes = []
    for line in CURL.strip().replace("\\\n", " ").splitlines():
        there = ["--connect-to", f"::127.0.0.1:{port}", "-s", "-o", "-", "-w", "%{http_code}"]
        run = subprocess.run([*shlex.split(line), *there], capture_output=True, check=True)
        codes.append(run.stdout.decode()[-3:])
    trial.table.equal("the document's three curl lines", "200 200 200", " ".join(codes))
    site.process.stop()

    refusals = [unusable(trial, keys) for keys in ("your-secret-key,a-short-key", "")]
    check = "in production: a published key and a short one, none"
    trial.table.equal(check, [503, 503], refusals)


def unusable(trial: Trial, keys: str) -> int:
    """What an app answers that was given such keys."""
    site = serve(trial, JOB_PROCESSOR_API_KEY=keys)
    sent = {"x-api-key": "your-secret-key"}
    code = site.post("/api/jobs/process", headers=sent).status_code
    site.process.stop()
    return code


def doors(trial: Trial, site: Site) -> None:
    path = "/api/jobs/process"
    wrong = site.post(path, headers={"x-api-key": "a-long-secret-of-somebody-else"})
    codes = [site.post(path).status_code, wrong.status_code]
    trial.table.equal("no key, a wrong key", [401, 403], codes)
    cron = site.get("/api/jobs/cron", headers={"authorization": f"Bearer {CRON}"})
    trial.table.equal("Vercel's GET with a Bearer", 200, cron.status_code)


def drained(trial: Trial, site: Site, user: httpx.Client) -> list[str]:
    jobs = [scan(user) for _ in range(40)]
    states = [site.get("/api/jobs/process", headers={"x-api-key": KEY}).json() for _ in range(2)]
    got = [(state["pending"], state["completed"]) for state in states]
    trial.table.equal("GET, twice: pending, completed", [(40, 0), (40, 0)], got)
    seconds: list[float] = []
    remaining = 40
    while remaining and len(seconds) < 20:
        began = time.monotonic()
        remaining = process(site)["remaining"]
        seconds.append(time.monotonic() - began)
    trial.table.at_most("calls for 40 scans, 5 each", 10, len(seconds))
    trial.table.at_most("slowest call", BUDGET + 0.5, max(seconds), " s")
    trial.table.equal("40 scans", {"completed": 40}, trial.statuses(jobs))
    return jobs


def visible(
    trial: Trial, job: str, ada: httpx.Client, grace: httpx.Client, boss: httpx.Client
) -> None:
    codes = [client.get(f"/api/jobs/{job}").status_code for client in (ada, grace, boss)]
    trial.table.equal("a job to its owner, another, staff", [200, 403, 200], codes)


def overlapping(trial: Trial, site: Site, user: httpx.Client, claude: FakeGemini) -> None:
    """Twenty pairs of calls at the same time."""
    before = len(claude.ledger.entries)
    jobs = [scan(user) for _ in range(40)]
    with ThreadPoolExecutor(2) as callers:
        for _ in range(20):
            list(callers.map(lambda _: process(site, 2), range(2)))
    while process(site)["remaining"]:
        pass
    trial.table.equal("40 scans by overlapping calls", {"completed": 40}, trial.statuses(jobs))
    requests = len(claude.ledger.entries) - before
    trial.table.equal("requests to Claude for them", 40, requests)


def killed(trial: Trial, claude: FakeGemini) -> None:
    """The platform freezes one call and kills five, with scans under way."""
    before = len(claude.ledger.entries)
    first, *others = [serve(trial) for _ in range(6)]
    frozen = first.process
    frozen_call, jobs = under_way_at(first, claude)
    trial.freeze(frozen)
    for site in others:
        jobs += under_way_at(site, claude)[1]
        site.process.kill()
    ended = datetime.now(UTC)
    site = serve(trial)
    with letting_go(claude):  # also what the frozen call waits for
        while set(trial.statuses(jobs)) != {"completed"} and since(ended) < 40:
            process(site, 10)
            time.sleep(0.5)
    found = trial.queue.get_many(jobs)
    last = max(job.started_at for job in found if job.started_at)
    trial.table.equal("30 scans of calls cut off", {"completed": 30}, trial.statuses(jobs))
    trial.table.at_most("the last starts again after", BUDGET + 11, since(ended, last), " s")
    trial.table.at_most("attempts", 3, max(job.attempts for job in found))
    asked = len(claude.ledger.entries) - before
    trial.table.at_most("requests for 30, in 6 calls of 5 cut off", 30 + 6 * 5, asked)

    frozen.thaw()
    frozen_call.join(20)
    frozen.stop()
    [rows] = trial.rows("SELECT count(DISTINCT scan_id), count(*) FROM leora_scan_contact")
    trial.table.equal("contacts: scans, rows", (110, 110), rows)


def under_way_at(site: Site, claude: FakeGemini) -> tuple[Thread, list[str]]:
    """Call a server that is going to be cut off: the call, and the jobs that it was made for."""
    user, busy = signed_in(site, "ada"), under_way(claude)
    jobs = [scan(user) for _ in range(5)]
    claude.script(*["held"] * 5)
    call = in_the_back(site)
    wait_until(lambda: under_way(claude) > busy)
    time.sleep(0.7)  # so that the other four have begun
    return call, jobs


def in_the_back(site: Site) -> Thread:
    """A call that may never be answered."""

    def call() -> None:
        with suppress(httpx.TransportError):
            process(site, 5)

    thread = Thread(target=call, daemon=True)
    thread.start()
    return thread


def since(began: datetime, ended: datetime | None = None) -> float:
    return ((ended or datetime.now(UTC)) - began).total_seconds()


def too_long(trial: Trial, claude: FakeGemini) -> None:
    """A job that no call has the time for."""
    site = serve(trial, JOBQ_TIME_BUDGET="1.5")
    claude.script("held", prompt="customer 7", forever=True)
    job = trial.queue.enqueue("customer_enrichment", {"customer_id": "7"})
    released = [process(site)["released"] for _ in range(3)]
    trial.table.equal("a job too long for a call: released", [1, 1, 0], released)
    code = trial.queue.get(job.id).error_code
    trial.table.equal("and then", "longer_than_budget", code)


def awaited(trial: Trial) -> None:
    """`trigger_worker`, which waits for a job that it runs, and for one that nobody may run yet."""
    payload = {"customer_id": "8"}
    job = trial.queue.enqueue("customer_enrichment", payload)
    later = trial.queue.enqueue("customer_enrichment", payload, delay=3600)
    lines = manage(trial, "shell", "-c", WAIT.format(job=job.id, later=later.id)).splitlines()
    came, gave_up = (json.loads(line) for line in lines[-2:])
    rest = trial.since_end(job.id, came["at"])
    said = came["message"], gave_up["message"]
    trial.table.equal("trigger_worker waits, and gives up", ("completed", "timeout"), said)
    trial.table.at_most("it comes back after", 0.2, rest, " s")
    trial.table.between("and gives up after its second", 0.9, 1.1, gave_up["seconds"], " s")


def cleaned_up(trial: Trial, jobs: list[str]) -> None:
    """`cleanup_old_jobs(30)`, as a command."""
    old = jobs[:3]
    days = "40 * 86400000000" if trial.url.startswith("sqlite") else "interval '40 days'"
    aged = f"UPDATE jobq_job SET completed_at = completed_at - {days} WHERE id = :id"
    with trial.engine.begin() as connection:
        connection.execute(sqlalchemy.text(aged), [{"id": job} for job in old])
    said = manage(trial, "jobq_cleanup", "--days", "30")
    trial.table.equal("deleted by cleanup", "deleted 3 jobs", said[:14])
    trial.table.equal("and kept", len(jobs) - 3, len(trial.queue.get_many(jobs)))
