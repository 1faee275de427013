"""What happens to carousels where functions are killed, buttons pressed twice, answers lost."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import httpx

from examples.carousel.network import Network
from examples.fakegemini import FakeGemini, Options
from examples.trial import Site, Trial, letting_go, under_way, wait_until

SECRET = "a-long-secret-for-the-worker-route"
PUBLISHED = "dev-secret-change-in-production"
ADA, GRACE = {"x-user": "ada"}, {"x-user": "grace"}
RPM, SPEED, BUDGET = 60, 10, 20
CURL = """curl -X POST http://localhost:3000/api/workers \
  -H "Authorization: Bearer dev-secret-change-in-production"
"""


def check(trial: Trial) -> None:
    with Network() as network:
        gemini = prepare(trial, network)
        developed(trial)
        trial.env(WORKER_SECRET=SECRET, JOBQ_TIME_BUDGET=f"{BUDGET}", WORKER_CONCURRENCY="8")
        site = serve(trial)
        doors(trial, site)
        drive(site)  # declares the limits
        trial.hurry(SPEED)
        all_types(trial, site, network)
        ordered(trial)
        many(trial, site)
        cut_off(trial, gemini, network)
        trial.table.equal("429s", 0, gemini.ledger.outcomes()["rate_limited"])


def play(trial: Trial) -> None:
    network = Network().__enter__()  # for as long as the process
    prepare(trial, network)
    site = serve(trial, NODE_ENV="development")
    print(f"POST {site.url}/api/jobs as in the README; jobs run by themselves.")


def prepare(trial: Trial, network: Network) -> FakeGemini:
    gemini = trial.provider(Options(rpm=RPM, speed=SPEED, latency=0.2 * SPEED, seed=5))
    trial.env(
        NETWORK_URL=network.url,
        GEMINI_API_KEY="made-up",
        GEMINI_RPM=str(RPM),
        JOBQ_ARTIFACTS=str(trial.folder / "images"),
    )
    trial.run("examples.carousel.migrate")
    return gemini


def serve(trial: Trial, **env: str) -> Site:
    return trial.serve("examples.carousel.app:app", **env)


def create(site: Site, type: str, payload: Any, **more: Any) -> str:
    body = {"type": type, "payload": payload} | more
    answer = site.post("/api/jobs", json=body, headers=ADA).raise_for_status().json()
    assert answer == {"jobId": answer["jobId"], "status": "pending"}
    return str(answer["jobId"])


def drive(site: Site, most: int = 50) -> dict[str, Any]:
    secret = {"authorization": f"Bearer {SECRET}"}
    answer = site.post(f"/api/workers?maxJobs={most}", headers=secret, timeout=60)
    return dict(answer.raise_for_status().json())


def developed(trial: Trial) -> None:
    """In development: the document's curl line, and jobs that run without being asked for."""
    site = serve(trial, NODE_ENV="development")
    there = ["--connect-to", f"::{site.url.removeprefix('http://')}", "-s"]
    line = shlex.split(CURL.replace("\\\n", ""))
    run = subprocess.run([*line, *there], capture_output=True, check=True)
    trial.table.equal("the document's curl line", True, json.loads(run.stdout)["success"])

    submits = [
        site.post("/api/wizard/7/submit", json={"topic": "tea", "slides": 2}, headers=ADA)
        for _ in range(2)
    ]
    ids = {answer.json()["jobId"] for answer in submits}
    trial.table.equal("a button pressed twice: jobs", 1, len(ids))
    trial.until_done(ids, 20)
    trial.table.equal("run by itself", {"completed": 1}, trial.statuses(ids))
    site.process.stop()


def doors(trial: Trial, site: Site) -> None:
    keys = [{}, {"authorization": f"Bearer {PUBLISHED}"}, {"authorization": f"Bearer {SECRET}"}]
    codes = [site.post("/api/workers", headers=key).status_code for key in keys]
    trial.table.equal("no secret, the published one, ours", [401, 403, 200], codes)
    weak = serve(trial, WORKER_SECRET=PUBLISHED)
    trial.table.equal("the published one, set", 503, weak.post("/api/workers").status_code)
    weak.process.stop()


def all_types(trial: Trial, site: Site, network: Network) -> None:
    post = {"caption": "Tea", "images": ["https://example.com/tea.png"]}
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    jobs = [
        create(site, "ai_text_generation", {"prompt": "A poem about tea"}),
        create(site, "ai_image_generation", {"prompt": "Tea"}),
        create(site, "carousel_creation", {"topic": "green tea"}),
        create(site, "web_scraping", {"url": f"{network.url}/"}),
        create(site, "social_publish_instagram", post),
        create(site, "social_publish_facebook", post),
    ]
    networks = {"networks": ["instagram", "facebook"], "post": post}
    later = create(site, "scheduled_publish", networks, scheduledFor=in_an_hour)
    drive(site)
    trial.table.equal("six types, run by one call", {"completed": 6}, trial.statuses(jobs))
    trial.table.equal("scheduledFor: not yet", 0, trial.queue.get(later).attempts)
    codes = [site.get(f"/api/jobs/{jobs[0]}", headers=who).status_code for who in (ADA, GRACE)]
    trial.table.equal("a job to its owner, to another", [200, 403], codes)
    images = site.get(f"/api/jobs/{jobs[2]}", headers=ADA).json()["result"]["imageUrls"]
    shown = {site.get(url, headers=ADA).headers["content-type"] for url in images}
    trial.table.equal("a carousel's images", (6, {"image/png"}), (len(images), shown))
    trial.queue.reschedule(later, delay=0)
    drive(site)
    trial.table.equal("scheduledFor: posts then", 4, len(network.posts))


def ordered(trial: Trial) -> None:
    """Larger numbers first; `triggerWorker` waits for one of them."""
    site = serve(trial, WORKER_CONCURRENCY="1")
    jobs = {
        create(site, "ai_text_generation", {"prompt": f"{n}"}, priority=n): n for n in (1, 9, 5, 7)
    }
    drive(site)
    found = sorted(trial.queue.get_many(jobs), key=lambda job: job.started_at or datetime.now(UTC))
    trial.table.equal("priorities, in order", [9, 7, 5, 1], [jobs[job.id] for job in found])

    job = create(site, "ai_text_generation", {"prompt": "now"})
    answer = triggered(trial, job)
    trial.table.equal("triggerWorker waits", (True, job), (answer["success"], answer["jobId"]))
    late = trial.queue.enqueue("web_scraping", {"url": "x"}, delay=3600).id
    answer = triggered(trial, late, "300")
    trial.table.equal("and gives up", (False, "timeout"), (answer["success"], answer["message"]))


def many(trial: Trial, site: Site) -> None:
    """More than a minute allows."""
    jobs = [create(site, "ai_text_generation", {"prompt": f"Poem {n}"}) for n in range(90)]
    until = time.monotonic() + 30
    while trial.statuses(jobs) != {"completed": 90} and time.monotonic() < until:
        drive(site)
    trial.table.equal("90 texts", {"completed": 90}, trial.statuses(jobs))


def triggered(trial: Trial, *arguments: str) -> dict[str, Any]:
    said = trial.run("examples.carousel.wait_for", *arguments)
    return dict(json.loads(said.splitlines()[-1]))


def cut_off(trial: Trial, gemini: FakeGemini, network: Network) -> None:
    """A worker is frozen, functions are killed: amidst pictures, seven carousels, two posts."""
    gemini.script("held", "held", "held")
    site = serve(trial)
    pictures = [create(site, "ai_image_generation", {"prompt": f"Cup {n}"}) for n in range(3)]
    machine = trial.worker("examples.carousel.jobs:queue", JOBQ_LEASE="3")
    wait_until(lambda: under_way(gemini) == 3)
    machine.freeze()

    before = len(gemini.ledger.entries)
    for number in range(7):
        slide = f"Slide {number - 1} about cake {number}:" if number else "A carousel about cake 0"
        gemini.script("held", prompt=slide)
    jobs = [create(site, "carousel_creation", {"topic": f"cake {n}"}) for n in range(7)]
    in_the_back(site)
    wait_until(lambda: under_way(gemini) == 3 + 7)
    site.process.kill()
    silent = serve(trial)
    network.silent.set()
    posts = len(network.posts)
    post = {"caption": "Cake", "images": []}
    published = [
        create(silent, f"social_publish_{name}", post) for name in ("instagram", "facebook")
    ]
    in_the_back(silent)
    wait_until(lambda: len(network.posts) == posts + 2)
    silent.process.kill()
    network.silent.clear()

    site = serve(trial)
    unfinished = [*pictures, *jobs, *published]
    with letting_go(gemini):
        began = time.monotonic()
        while trial.statuses(unfinished) != {"completed": 12} and time.monotonic() - began < 50:
            drive(site)
            time.sleep(0.5)
        machine.thaw()
        machine.stop()
    trial.table.equal("12 jobs that were cut off", {"completed": 12}, trial.statuses(unfinished))
    asked = len(gemini.ledger.entries) - before - len(pictures)
    trial.table.equal("requests for 7 carousels, cut off in a call each", 7 * 7 + 7, asked)
    trial.table.equal("posts, though their answers were lost", 2, len(network.posts) - posts)
    [(titles, rows)] = trial.rows("SELECT count(DISTINCT title), count(*) FROM creation")
    trial.table.equal("rows of creations, titles", (13, 13), (rows, titles))


def in_the_back(site: Site) -> Thread:
    """A call that may never be answered."""

    def call() -> None:
        with suppress(httpx.TransportError):
            drive(site)

    thread = Thread(target=call, daemon=True)
    thread.start()
    return thread
