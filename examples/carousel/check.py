"""What happens to carousels where functions are killed, buttons pressed twice, answers lost."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import httpx

import jobq
from examples.carousel.check_reel import check_reels, requests
from examples.carousel.network import Network
from examples.fakegemini import FakeGemini, Options
from examples.fakegemini.made_up import words
from examples.trial import Process, Site, Trial, letting_go, under_way, wait_until

APP = "examples.carousel.app:queue"
SECRET = "a-long-secret-for-the-worker-route"
PUBLISHED = "dev-secret-change-in-production"
ADA, GRACE = {"x-user": "ada"}, {"x-user": "grace"}
RPM, SPEED, BUDGET = 60, 10, 20
TEXT, HOG = "ai_text_generation", 1000
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
        fair(trial)
        with cut_off(trial, site, gemini, network):
            check_reels(trial, site, gemini)
        recorded(trial, gemini)


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
        WEBHOOK_ALLOW="127.0.0.1",
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
    rest = trial.since_end(job, answer["at"])
    trial.table.at_most("and comes back after", 0.2, rest, " s")
    late = trial.queue.enqueue("web_scraping", {"url": "x"}, delay=3600).id
    answer = triggered(trial, late, "1000")
    trial.table.equal("and gives up", (False, "timeout"), (answer["success"], answer["message"]))
    trial.table.between("after its second", 0.9, 1.1, answer["seconds"], " s")


def many(trial: Trial, site: Site) -> None:
    """More than a minute allows."""
    jobs = [create(site, "ai_text_generation", {"prompt": f"Poem {n}"}) for n in range(70)]
    until = time.monotonic() + 30
    while trial.statuses(jobs) != {"completed": 70} and time.monotonic() < until:
        drive(site)
    trial.table.equal("70 texts", {"completed": 70}, trial.statuses(jobs))


def fair(trial: Trial) -> None:
    """Eight tenants by themselves, then beside one who has asked for a thousand texts."""
    worker = trial.worker(APP)
    alone = waiting(trial, "alone")
    hog = [jobq.NewJob(type=TEXT, payload={"prompt": f"{n}"}, owner="hog") for n in range(HOG)]
    trial.queue.enqueue_many(hog)
    beside = waiting(trial, "beside it")
    trial.queue.cancel_where(owner="hog")
    worker.stop()
    trial.table.at_most("beside a hog of 1000, others wait so many times longer", 3, beside / alone)


def waiting(trial: Trial, when: str) -> float:
    """Seconds until the texts of the tenants start, 19 of 20."""
    jobs = [
        trial.queue.enqueue(TEXT, {"prompt": f"{n} {when}"}, owner=f"tenant-{who}").id
        for n in range(3)
        for who in range(8)
    ]
    trial.until_done(jobs)
    found = trial.queue.get_many(jobs)
    waits = sorted((j.started_at - j.created_at).total_seconds() for j in found if j.started_at)
    return waits[math.ceil(len(waits) * 0.95) - 1]


def triggered(trial: Trial, *arguments: str) -> dict[str, Any]:
    said = trial.run("examples.carousel.wait_for", *arguments)
    return dict(json.loads(said.splitlines()[-1]))


@contextmanager
def cut_off(trial: Trial, site: Site, gemini: FakeGemini, network: Network) -> Iterator[None]:
    """Functions are killed, a worker is frozen; in the block their leases end."""
    pictures, machine = frozen(trial, site, gemini)
    carousels, published = killed(trial, site, gemini, network)
    posts = len(network.posts)
    yield
    unfinished = [*pictures, *carousels, *published]
    with letting_go(gemini):
        began = time.monotonic()
        while trial.statuses(unfinished) != {"completed": 12} and time.monotonic() - began < 50:
            drive(site)
            time.sleep(0.5)
        machine.thaw()
        machine.stop()
    trial.table.equal("12 jobs that were cut off", {"completed": 12}, trial.statuses(unfinished))
    asked = [len(requests(gemini, carousel(f"cake {n}"))) for n in range(7)]
    trial.table.equal("requests for 7 carousels, cut off in a call each", [7 + 1] * 7, asked)
    again = len(network.posts) - posts
    trial.table.equal("posts again, though their answers were lost", 0, again)


def frozen(trial: Trial, site: Site, gemini: FakeGemini) -> tuple[list[str], Process]:
    """The machine of a worker stands still amidst three pictures."""
    gemini.script("held", "held", "held")
    pictures = [create(site, "ai_image_generation", {"prompt": f"Cup {n}"}) for n in range(3)]
    machine = trial.worker(APP, JOBQ_LEASE="3")
    wait_until(lambda: under_way(gemini) == 3)
    trial.freeze(machine)
    return pictures, machine


def killed(
    trial: Trial, site: Site, gemini: FakeGemini, network: Network
) -> tuple[list[str], list[str]]:
    """Amidst seven carousels, each in another call, and two posts that are not answered."""
    function, busy = serve(trial, JOBQ_TIME_BUDGET="10"), under_way(gemini)
    for number in range(7):
        gemini.script("held", prompt=carousel(f"cake {number}")[number])
    carousels = [create(site, "carousel_creation", {"topic": f"cake {n}"}) for n in range(7)]
    in_the_back(function)
    wait_until(lambda: under_way(gemini) == busy + 7)
    function.process.kill()
    function = serve(trial, JOBQ_TIME_BUDGET="10")
    network.silent.set()
    before, post = len(network.posts), {"caption": "Cake", "images": []}
    published = [create(site, f"social_publish_{name}", post) for name in ("instagram", "facebook")]
    in_the_back(function)
    wait_until(lambda: len(network.posts) == before + 2)
    function.process.kill()
    network.silent.clear()
    return carousels, published


def carousel(topic: str) -> list[str]:
    """What Gemini is asked for a carousel: a text, six pictures."""
    first = f"A carousel about {topic}"
    return [first, *(f"Slide {n} about {topic}: {words(first)}" for n in range(6))]


def in_the_back(site: Site) -> Thread:
    """A call that may never be answered."""

    def call() -> None:
        with suppress(httpx.TransportError):
            drive(site)

    thread = Thread(target=call, daemon=True)
    thread.start()
    return thread


def recorded(trial: Trial, gemini: FakeGemini) -> None:
    sql = "SELECT count(*) FROM jobq_job WHERE status = 'completed' AND type IN (:a, :b, :c)"
    types = {"a": "ai_image_generation", "b": "carousel_creation", "c": "carousel_reel"}
    [(done,)] = trial.rows(sql, **types)
    [(titles, rows)] = trial.rows("SELECT count(DISTINCT title), count(*) FROM creation")
    trial.table.equal("rows of creations, titles", (done, done), (rows, titles))
    trial.table.equal("429s", 0, gemini.ledger.outcomes()["rate_limited"])
