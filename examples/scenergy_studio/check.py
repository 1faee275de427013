"""Three hundred images in five minutes that last half a minute, while a worker is killed."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence

import httpx

import jobq
from examples.fakegemini import Entry, FakeGemini, Faults, Options, most_within
from examples.scenergy_studio.bucket import Bucket
from examples.trial import Process, Site, Trial, letting_go, under_way, wait_until

APP = "examples.scenergy_studio.app:queue"
ADA = {"x-user": "ada"}
RPM, SPEED, SLOTS = 60, 10, 12
MINUTE = 60 / SPEED
FAULTS = Faults(error=0.03, overloaded=0.02, refused=0.01)
PROJECTS = {"key-a": "studio", "key-b": "studio", "key-c": "lab"}
ONE_PROJECT = "studio=key-a,studio=key-b"
VICTIM = "victim"
RESTING = 5
"""So many images may still rest after an error, for seconds, when all others are there."""
TWO_PROJECTS = "studio=key-a,lab=key-c"


def check(trial: Trial) -> None:
    bucket = Bucket(trial)
    gemini = prepare(trial, bucket)
    site = trial.serve("examples.scenergy_studio.web:app")
    first, second = worker(trial, ONE_PROJECT), worker(trial, ONE_PROJECT, VICTIM)
    trial.hurry(SPEED)
    left: list[int] = []
    jobs = rush(trial, site, gemini, lambda: left.append(killed(trial, bucket, second)))
    orphans(trial, bucket, gemini, *left)
    documented(trial, site, jobs)
    frozen(trial, site, gemini, worker(trial, ONE_PROJECT))
    stopped(trial, site, gemini, first)
    two_projects(trial, site, gemini)
    recorded(trial)


def play(trial: Trial) -> None:
    prepare(trial, Bucket(trial))
    site = trial.serve("examples.scenergy_studio.web:app")
    worker(trial, ONE_PROJECT)
    print(f"Open {site.url}")


def prepare(trial: Trial, bucket: Bucket) -> FakeGemini:
    gemini = trial.provider(
        Options(
            rpm=RPM,
            speed=SPEED,
            projects=PROJECTS,
            faults=FAULTS,
            latency=1.0 * SPEED,
            spread=0.2,
            seed=4,
        )
    )
    trial.env(GEMINI_RPM=str(RPM), WORKER_CONCURRENCY=str(SLOTS), JOBQ_LEASE="5", **bucket.env)
    trial.run("examples.scenergy_studio.migrate")
    return gemini


def worker(trial: Trial, keys: str, name: str = "worker") -> Process:
    return trial.worker(APP, GOOGLE_AI_STUDIO_API_KEY=keys, WORKER_ID=name)


def enqueued(site: Site, count: int, prompt: str, priority: str = "normal") -> list[str]:
    jobs = []
    for number in range(count):
        body = {
            "clientId": "client-123",
            "productIds": ["prod-1"],
            "prompt": f"{prompt} {number}",
            "settings": {"aspectRatio": "16:9"},
        }
        path = f"/api/generate-images?priority={priority}"
        answer = site.post(path, json=body, headers=ADA).raise_for_status()
        jobs.append(str(answer.json()["jobId"]))
    return jobs


def images(gemini: FakeGemini, start: int = 0) -> list[Entry]:
    """The requests for images since one."""
    return [entry for entry in gemini.ledger.entries[start:] if "image" in entry.model]


def rush(trial: Trial, site: Site, gemini: FakeGemini, kill: Callable[[], None]) -> list[str]:
    """300 images and a text every two seconds; a worker is killed on the way."""
    began = time.monotonic()
    jobs = enqueued(site, 300, "Modern living room with sofa")
    texts: list[str] = []
    urgent: list[str] = []
    unharmed: int | None = None
    while not all(job.status.finished for job in trial.queue.get_many(jobs)):
        seconds = time.monotonic() - began
        text = {"type": "description", "payload": {"productId": f"prod-{len(texts)}"}}
        texts.append(site.post("/api/jobs", json=text, headers=ADA).json()["jobId"])
        if seconds > 10 and not urgent:
            unharmed = len(images(gemini))
            kill()
            urgent = enqueued(site, 5, "Quick", priority="urgent")
        if seconds > 60:
            break
        time.sleep(2)
    trial.until_done([*urgent, *texts])

    found, entries = trial.queue.get_many(jobs), images(gemini)
    outcomes = Counter(entry.outcome.value for entry in entries)
    refused = sum(job.error_code == "refused" for job in found)
    completed = sum(job.status == "completed" for job in found)
    ends = sorted(job.completed_at.timestamp() for job in found if job.completed_at)
    first = min(job.created_at.timestamp() for job in found)
    table = trial.table
    table.equal("300 images: completed and refused", 300, completed + refused)
    table.equal("refused, by the ledger", outcomes["refused"], refused)
    table.equal("429s", 0, outcomes["rate_limited"])
    let_in = [entry.arrived for entry in entries if entry.let_in]
    table.at_most("in any minute", RPM, most_within(MINUTE, let_in))
    table.at_most("seconds for 295 of 300 images", 36, ends[-1 - RESTING] - first, " s")
    used = pace(entries[10:unharmed]) / possible(trial)
    table.at_least("of the possible rate, before the kill", 98, 100 * used, " %")
    again = outcomes["error"] + outcomes["overloaded"]
    table.at_most("requests billed", 305 + SLOTS, sum(entry.billed > 0 for entry in entries))
    table.at_most("requests", 305 + again + SLOTS, len(entries))
    table.at_most("urgent ones start after", 1 + 5 / 9.7, slowest(trial, urgent), " s")
    table.equal("and normal ones before them", 0, overtaking(trial, urgent, found))
    table.at_most("texts wait (19 of 20)", 1, waits(trial, texts)[len(texts) * 19 // 20 - 1], " s")
    return jobs


def killed(trial: Trial, bucket: Bucket, victim: Process) -> int:
    """A worker, when images of its are in the bucket and it does not know so yet; how many."""
    uploading = "SELECT id FROM jobq_artifact WHERE status = 'uploading'"
    theirs = f"""{uploading} AND job_id IN (SELECT id FROM jobq_job WHERE worker IN
        (SELECT id FROM jobq_worker WHERE label = '{VICTIM}'))"""

    def all_there() -> bool:
        held = bucket.hold()
        return bool(trial.rows(theirs)) and len(trial.rows(uploading)) == held

    wait_until(all_there)
    victim.kill()
    bucket.release()
    return len(trial.rows(theirs))


def orphans(trial: Trial, bucket: Bucket, gemini: FakeGemini, left: int) -> None:
    """What was paid for and is recorded nowhere: the sweeper knows what of it is in the bucket."""
    recorded = {url for (url,) in trial.rows("SELECT url FROM generated_image")}
    there = bucket.urls() - recorded
    sweep = ("artifacts", "sweep", "--older-than", "0", "--json")
    swept = json.loads(trial.run("jobq", *sweep, "--url", trial.url))["objects"]
    check = "orphans of the killed worker: in the bucket, by the sweeper"
    trial.table.equal(check, (left, left), (len(there), swept))
    billed = sum(entry.billed > 0 for entry in images(gemini))
    trial.table.at_most("billed, in neither", SLOTS, billed - len(recorded) - len(there))


def possible(trial: Trial) -> float:
    """Starts a second that the limit says it comes to."""
    [limit] = [info.limit for info in trial.queue.limits() if info.key == "gemini:studio"]
    assert isinstance(limit, jobq.RateLimit)
    return limit.effective_rate


def pace(entries: Sequence[Entry]) -> float:
    """Requests a second."""
    return (len(entries) - 1) / (entries[-1].arrived - entries[0].arrived)


def waits(trial: Trial, jobs: list[str]) -> list[float]:
    """Seconds from enqueueing to the first start, the longest last."""
    starts = [min(one.started_at for one in trial.queue.history(job)) for job in jobs]
    enqueued = [job.created_at for job in trial.queue.get_many(jobs)]
    return sorted((s - e).total_seconds() for s, e in zip(starts, enqueued, strict=True))


def overtaking(trial: Trial, urgent: list[str], normal: Sequence[jobq.Job]) -> int:
    """Normal jobs that started while urgent ones were waiting."""
    waiting = trial.queue.get_many(urgent)
    began = max(job.created_at for job in waiting)
    ended = max(job.started_at or began for job in waiting)
    return sum(job.attempts == 1 and began < (job.started_at or began) < ended for job in normal)


def slowest(trial: Trial, jobs: list[str]) -> float:
    return waits(trial, jobs)[-1]


def documented(trial: Trial, site: Site, jobs: list[str]) -> None:
    """getJobStatus, getJobStatuses, setJobStatus; an edit of an image from the bucket."""
    done = [job.id for job in trial.queue.get_many(jobs) if job.status == "completed"]
    status = site.get(f"/api/jobs/{done[0]}", headers=ADA).json()
    keys = {"id", "type", "status", "progress", "result", "error", "updatedAt"}
    trial.table.equal("getJobStatus has the document's keys", True, keys <= status.keys())
    two = site.get("/api/jobs", params={"ids": ",".join(done[:2])}, headers=ADA).json()["jobs"]
    trial.table.equal("getJobStatuses of two", 2, len(two))
    url = status["result"]["imageUrls"][0]
    image = httpx.get(url)
    kind = image.headers["content-type"]
    trial.table.equal("the image, from the bucket", (200, "image/png"), (image.status_code, kind))
    body = {"clientId": "client-123", "sourceImageUrl": url, "editPrompt": "At night"}
    edit = site.post("/api/edit-image", json=body, headers=ADA).json()["jobId"]
    trial.until_done([edit])
    trial.table.equal("image_edit", "completed", trial.queue.get(edit).status.value)
    payload = {"clientId": "client-123", "productIds": [], "prompt": "Later"}
    waiting = trial.queue.enqueue("image_generation", payload, delay=3600)
    by_hand = trial.queue.set_status(waiting, "failed", error="withdrawn").status.value
    trial.table.equal("setJobStatus", "failed", by_hand)
    trial.table.equal("the page", 200, site.get("/").status_code)


def frozen(trial: Trial, site: Site, gemini: FakeGemini, machine: Process) -> None:
    """A worker's machine stands still for longer than its lease; then it goes on."""
    gemini.script(*["held"] * 16)
    jobs = enqueued(site, 24, "A lamp")
    wait_until(lambda: under_way(gemini) >= 16)
    trial.freeze(machine)
    with letting_go(gemini):
        trial.until_done(jobs)
        machine.thaw()
        machine.stop()
    trial.table.equal("24 images of a frozen worker", {"completed": 24}, trial.statuses(jobs))


def stopped(trial: Trial, site: Site, gemini: FakeGemini, first: Process) -> None:
    """SIGTERM: what runs is finished, and the rest left to the next worker."""
    jobs = enqueued(site, 30, "A chair")
    wait_until(lambda: under_way(gemini) > 2)
    began = time.monotonic()
    code = first.stop()
    trial.table.equal("exit code at SIGTERM", 0, code)
    trial.table.at_most("seconds until then", 9, time.monotonic() - began, " s")
    left = [job for job in trial.queue.get_many(jobs) if not job.status.finished]
    trial.table.equal("attempts of those left", 0, sum(job.attempts for job in left))


def two_projects(trial: Trial, site: Site, gemini: FakeGemini) -> None:
    """Keys of two projects do add up."""
    before = len(images(gemini))
    for _ in range(2):
        worker(trial, TWO_PROJECTS)
    trial.hurry(SPEED)
    jobs = enqueued(site, 130, "A table")
    trial.until_done(jobs)
    entries = images(gemini)[before:]
    trial.table.at_least("two projects, images a second", 0.97 * 2 * 9.7, fastest(entries))
    refusals = sum(entry.status == 429 for entry in entries)
    trial.table.equal("429s of two projects", 0, refusals)


def fastest(entries: Sequence[Entry]) -> float:
    """Requests a second, over the middle of the run."""
    middle = [entry.arrived for entry in entries][20:120]
    return (len(middle) - 1) / (middle[-1] - middle[0])


def recorded(trial: Trial) -> None:
    """The rows: one for each job that completed, none for any other."""
    sql = "SELECT count(*) FROM jobq_job WHERE status = 'completed' AND type LIKE 'image%'"
    [(jobs,)] = trial.rows(sql)
    [(rows,)] = trial.rows("SELECT count(*) FROM generated_image")
    trial.table.equal("image rows, one a completed job", jobs, rows)
