"""What happens to reels: answers lost, a film cancelled, workers killed and stopped on the way."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

import jobq
from examples.carousel.customer import Customer
from examples.fakegemini import Entry, FakeGemini, prompt_hash
from examples.fakegemini.made_up import words
from examples.gemini import IMAGES, TEXTS, VIDEOS
from examples.trial import Process, Site, Trial, letting_go, wait_until

SECRET = f"whsec_{b64encode(bytes(24)).decode()}"
CALLS, SCENES = 8, 6


def check_reels(trial: Trial, site: Site, gemini: FakeGemini) -> None:
    with Customer(SECRET) as customer:
        customer.answers |= {"ada": [500, 500, 200], "grace": [410]}
        known(trial, customer, "ada", "grace")
        machine = worker(trial)
        at_once(trial, site, gemini)
        delivered(trial, customer)
        machine = stopped(trial, site, gemini, machine)
        machine = killed(trial, site, gemini, machine)
        disabled(trial, customer)
        machine.stop()


def known(trial: Trial, customer: Customer, *names: str) -> None:
    """The customers who want to be told."""
    row = "INSERT INTO customer (name, url, secret) VALUES (:name, :url, :secret)"
    rows = [{"name": name, "url": f"{customer.url}/{name}", "secret": SECRET} for name in names]
    with trial.engine.begin() as connection:
        connection.execute(sa.text(row), rows)


def worker(trial: Trial) -> Process:
    return trial.worker("examples.carousel.app:queue", "--queues", "reels", JOBQ_LEASE="3")


def reel(site: Site, topic: str, owner: str = "linus", *, repaint: bool = True) -> str:
    body = {"topic": topic, "repaint": repaint}
    answer = site.post("/api/reels", json=body, headers={"x-user": owner}).raise_for_status()
    return str(answer.json()["jobId"])


def prompts(topic: str) -> list[str]:
    """What Gemini is asked for a reel: a text, six pictures, a film."""
    first = f"A reel about {topic}"
    scenes = [f"Scene {n} of a reel about {topic}" for n in range(SCENES)]
    return [first, *(f"{prompt}: {words(first)}" for prompt in (*scenes, first))]


def asked(gemini: FakeGemini, *wanted: str) -> bool:
    """Whether these prompts are with Gemini right now."""
    names = {entry.prompt for entry in gemini.ledger.entries if entry.outcome == "working"}
    return {prompt_hash(prompt) for prompt in wanted} <= names


def requests(gemini: FakeGemini, wanted: Collection[str]) -> list[Entry]:
    """Those with one of these prompts."""
    names = {prompt_hash(prompt) for prompt in wanted}
    return [entry for entry in gemini.ledger.entries if entry.prompt in names]


def paid(gemini: FakeGemini, *wanted: str) -> list[Entry]:
    """Of these, the billed ones."""
    return [entry for entry in requests(gemini, wanted) if entry.billed]


def spent(trial: Trial, *which: str) -> int:
    """What jobq has in its own ledger, in millionths of a dollar."""
    said = json.loads(trial.run("jobq", "spend", "--url", trial.url, "--json", *which))
    return sum(total["micros"] for total in said)


def at_once(trial: Trial, site: Site, gemini: FakeGemini) -> None:
    """One that goes well, two with a picture that is lost on the way, one that is cancelled."""
    for topic in ("cats", "dogs"):
        gemini.script("reset", prompt=f"Scene 0 of a reel about {topic}")
    well, again = reel(site, "mint", "ada"), reel(site, "cats", "grace")
    never, cancelled = reel(site, "dogs", repaint=False), reel(site, "rain")
    with ThreadPoolExecutor(1) as browser:
        page = browser.submit(watched, site, well)
        wait_until(lambda: trial.queue.get(cancelled).status == "waiting")
        called_off(trial, site, gemini, cancelled)
        trial.until_done([well, again, never])
        went_well(trial, site, gemini, page.result())
    lost(trial, gemini, never, again)
    topics = ("mint", "cats", "dogs", "rain")
    bill = sum(entry.billed for topic in topics for entry in paid(gemini, *prompts(topic)))
    trial.table.equal(
        "jobq spend, and Gemini's bill", bill, spent(trial, "--type", "carousel_reel")
    )


def watched(site: Site, job: str) -> list[dict[str, Any]]:
    """All that a page sees which polls, until the job has ended."""
    seen: list[dict[str, Any]] = []
    began = time.monotonic()
    while not (seen and seen[-1]["completedAt"]) and time.monotonic() - began < 60:
        seen.append(site.get(f"/api/jobs/{job}", headers={"x-user": "ada"}).json())
        time.sleep(0.05)
    return seen


def went_well(trial: Trial, site: Site, gemini: FakeGemini, seen: list[dict[str, Any]]) -> None:
    table, result = trial.table, seen[-1]["result"]["imageUrls"]
    table.equal("a reel: requests billed", CALLS, len(paid(gemini, *prompts("mint"))))
    progress = [job["progress"] for job in seen]
    falls = sum(later < earlier for earlier, later in pairwise(progress))
    table.equal("its progress: from, to, falls", (0, 100, 0), (progress[0], progress[-1], falls))
    parts = [len(job["partial"] or ()) for job in seen if not job["completedAt"]]
    table.equal("pictures to be seen before its end", SCENES, max(parts))
    kinds = [site.get(url, headers={"x-user": "ada"}).headers["content-type"] for url in result]
    counts = kinds.count("image/png"), kinds.count("video/mp4")
    table.equal("its files: pictures, films", (SCENES, 1), counts)


def lost(trial: Trial, gemini: FakeGemini, never: str, again: str) -> None:
    for job, topic, end in ((never, "dogs", ("failed", 1)), (again, "cats", ("completed", 2))):
        times = len(paid(gemini, prompts(topic)[1]))
        got = trial.queue.get(job).status.value, times
        trial.table.equal(f"a picture's answer lost: {end[0]}, times paid", end, got)
    code = trial.queue.get(never).error_code
    trial.table.equal("why it failed", "ambiguous_step", code)


def called_off(trial: Trial, site: Site, gemini: FakeGemini, job: str) -> None:
    """Cancelled while its film is made."""

    def calls() -> int:
        return sum(entry.endpoint == "cancelOperation" for entry in gemini.ledger.entries)

    site.post(f"/api/jobs/{job}/cancel", headers={"x-user": "linus"}).raise_for_status()
    seconds = wait_until(lambda: trial.queue.get(job).status.finished and calls())
    trial.table.at_most("a reel cancelled in its film: ends after", 15, seconds, " s")
    got = trial.queue.get(job).status.value, calls()
    trial.table.equal("its end, calls of Gemini's cancel", ("cancelled", 1), got)
    bill = sum(entry.billed for entry in paid(gemini, *prompts("rain")))
    trial.table.equal("and its cost is kept", bill, spent(trial, "--job", job))


def deliveries(trial: Trial, name: str) -> list[jobq.Job]:
    found = trial.queue.list(type="jobq.webhook").jobs
    return [job for job in found if (job.metadata or {}).get("webhook") == name]


def delivered(trial: Trial, customer: Customer) -> None:
    """Ada's server answers 500, 500 and 200; nobody waits for the minutes between."""

    def hastened() -> bool:
        for job in deliveries(trial, "ada"):
            if job.status == "pending":
                trial.queue.reschedule(job.id, delay=0)
        return len(customer.told["ada"]) == 3

    wait_until(hastened, 20)
    told = customer.told["ada"]
    got = len(told), len(set(told)), len(customer.acted_on["ada"])
    trial.table.equal("a customer answers 500, 500, 200: deliveries, ids, effects", (3, 1, 1), got)


def disabled(trial: Trial, customer: Customer) -> None:
    """Grace's answers 410, and hears of no other reel."""
    wait_until(lambda: all(job.status.finished for job in deliveries(trial, "grace")))
    got = len(deliveries(trial, "grace")), len(customer.told["grace"])
    trial.table.equal("a customer answers 410: reels, deliveries", (2, 1), got)


def stopped(trial: Trial, site: Site, gemini: FakeGemini, machine: Process) -> Process:
    """SIGTERM while a picture is painted."""
    gemini.script("held", prompt="Scene 2 of a reel about snow")
    job = reel(site, "snow", "grace")
    wait_until(lambda: asked(gemini, prompts("snow")[3]))
    with letting_go(gemini):
        began = time.monotonic()
        code = machine.stop()
        seconds = time.monotonic() - began
    trial.table.equal(
        "SIGTERM: exit code, attempts used", (0, 0), (code, trial.queue.get(job).attempts)
    )
    trial.table.at_most("seconds until then", 9, seconds, " s")
    machine = worker(trial)
    trial.until_done([job])
    calls = len(paid(gemini, *prompts("snow")))
    got = trial.queue.get(job).status.value, calls
    trial.table.equal("and then: requests billed", ("completed", CALLS), got)
    return machine


def killed(trial: Trial, site: Site, gemini: FakeGemini, machine: Process) -> Process:
    """In a text, in a picture, in the call for a film, and while a film is made."""
    gemini.script("held", prompt="A reel about owls", model=TEXTS)
    gemini.script("held", prompt="Scene 3 of a reel about bees", model=IMAGES)
    gemini.script("held", prompt="A reel about ants", model=VIDEOS)
    topics = ("owls", "bees", "ants", "fish")
    jobs = [reel(site, topic) for topic in topics]
    held = prompts("owls")[0], prompts("bees")[4], prompts("ants")[-1]
    wait_until(lambda: asked(gemini, *held) and trial.queue.get(jobs[3]).progress >= 80)
    machine.kill()
    machine = worker(trial)
    with letting_go(gemini):
        trial.until_done(jobs)
    trial.table.equal("4 reels whose worker was killed", {"completed": 4}, trial.statuses(jobs))
    calls = [len(paid(gemini, *prompts(topic))) for topic in topics]
    trial.table.equal("requests billed, for them", [CALLS + 1] * 3 + [CALLS], calls)
    films = len(paid(gemini, prompts("fish")[-1]))
    trial.table.equal("films, once one is begun", 1, films)
    return machine
