"""Two workers with a key each; a provider that lowers its limit, and one whose credit ends."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import httpx

from examples.fakegemini import Entry, FakeGemini, Limits, Options
from examples.trial import (
    Process,
    Site,
    Trial,
    eventually,
    free_port,
    letting_go,
    under_way,
    wait_until,
)

APP = "examples.ai_worker.app:queue"
ADA = {"x-user": "ada"}
RPM, SPEED, SLOTS = 60, 10, 12
MINUTE = 60 / SPEED
PROJECTS = {"key-a": "studio", "key-b": "lab", "key-wrong": "nobody"}


def check(trial: Trial) -> None:
    gemini = prepare(trial)
    site = trial.serve("examples.ai_worker.web:app", ENABLE_DASHBOARD="true", ADMINS="ada")
    seen = [site.get("/admin/queues", headers={"x-user": who}) for who in ("ada", "eve")]
    codes = [answer.status_code for answer in seen]
    trial.table.equal("the dashboard, to an admin and to others", [200, 401], codes)
    stuck(trial, site)
    a, b = worker(trial, "a"), worker(trial, "b")
    waiting = enqueued(site, 20, "a path")
    said = "It waits for the limit"
    trial.table.equal("over the limit: why", said, why(trial, waiting[-1])[: len(said)])
    trial.hurry(SPEED)
    trial.until_done(waiting)
    two_keys(trial, site, gemini)
    frozen(trial, site, gemini, b)
    lowered(trial, site, gemini)
    worker(trial, "c", GEMINI_API_KEY="key-b")
    no_credit(trial, site, gemini)
    trial.table.equal("exit code at SIGTERM", 0, a.stop())
    [(prompts, rows)] = trial.rows("SELECT count(DISTINCT prompt), count(*) FROM image")
    trial.table.equal("image rows, of prompts", (done(trial), done(trial)), (rows, prompts))


def play(trial: Trial) -> None:
    prepare(trial)
    site = trial.serve("examples.ai_worker.web:app")
    worker(trial, "a")
    print(
        f"curl {site.url}/api/generate-images -H 'x-user: ada' --json '{{\"prompt\": \"a door\"}}'"
    )


def prepare(trial: Trial) -> FakeGemini:
    gemini = trial.provider(
        Options(rpm=RPM, speed=SPEED, latency=0.8 * SPEED, projects=PROJECTS, seed=1)
    )
    trial.env(
        GEMINI_RPM=str(RPM),
        WORKER_CONCURRENCY=str(SLOTS),
        JOBQ_ARTIFACTS=str(trial.folder / "images"),
        JOBQ_LEASE="3",
    )
    trial.run("examples.ai_worker.migrate")
    return gemini


def worker(trial: Trial, name: str, **env: str) -> Process:
    return trial.worker(APP, **{"WORKER_ID": name, "GEMINI_API_KEY": f"key-{name}"} | env)


def enqueued(site: Site, count: int, name: str) -> list[str]:
    prompts = [{"prompt": f"{name} {number}"} for number in range(count)]
    answers = [site.post("/api/generate-images", json=one, headers=ADA) for one in prompts]
    return [str(answer.json()["jobId"]) for answer in answers]


def done(trial: Trial) -> int:
    return trial.queue.counts()["completed"]


def why(trial: Trial, job: str) -> str:
    return trial.run("jobq", "why", job, "--url", trial.url).strip()


def refusals(entries: Iterable[Entry]) -> int:
    return sum(entry.status in (402, 429) for entry in entries)


def stuck(trial: Trial, site: Site) -> None:
    """The document's troubleshooting, answered by `jobq why`."""
    [job] = enqueued(site, 1, "a tree")
    trial.table.equal("stuck in waiting: why", "No worker is alive", why(trial, job)[:18])
    port = str(free_port())
    wrong = worker(trial, "w", GEMINI_API_KEY="key-wrong-", PORT=port)
    health = httpx.get(f"http://127.0.0.1:{port}/health").text
    trial.table.equal("GET /health", '{"status":"healthy"}', health)
    said = "All keys of the pool 'gemini' are closed"
    found = eventually(lambda: said in why(trial, job), 15)
    trial.table.equal("a wrong key: why", said, said if found else why(trial, job))
    wrong.stop()


def two_keys(trial: Trial, site: Site, gemini: FakeGemini) -> None:
    """Both keys as fast as they may."""
    before = len(gemini.ledger.entries)
    jobs = enqueued(site, 160, "a door")
    trial.until_done(jobs)
    entries = gemini.ledger.entries[before:]
    trial.table.equal("160 images by two keys", {"completed": 160}, trial.statuses(jobs))
    trial.table.equal("429s", 0, refusals(entries))
    per_second = pace(entries)
    trial.table.between("images a second, of 2 × 10", 0.95 * 2 * 9.7, 20, per_second)
    most = max(gemini.ledger.most_within(MINUTE, project) for project in ("studio", "lab"))
    trial.table.at_most("in any minute, of a key", RPM, most)


def pace(entries: Collection[Entry]) -> float:
    """Requests that were let in a second."""
    arrived = [entry.arrived for entry in entries if entry.let_in]
    return (len(arrived) - 1) / (arrived[-1] - arrived[0])


def frozen(trial: Trial, site: Site, gemini: FakeGemini, machine: Process) -> None:
    """The machine of one worker stands still for longer than its lease; then it goes on."""
    gemini.script(*["held"] * 12)
    jobs = enqueued(site, 24, "a window")
    wait_until(lambda: len(holding(trial, "b")) > 2 and under_way(gemini) > 4)
    trial.freeze(machine)
    theirs = holding(trial, "b")
    with letting_go(gemini):
        seconds = trial.until_done(theirs)
        trial.table.at_most("a frozen worker's jobs are done after", 3 + 5, seconds, " s")
        trial.until_done(jobs)
        machine.thaw()
        machine.stop()
    trial.table.equal("24 images, some twice", {"completed": 24}, trial.statuses(jobs))


def holding(trial: Trial, label: str) -> list[str]:
    """The jobs that a worker has."""
    sql = (
        "SELECT id FROM jobq_job WHERE worker IN (SELECT id FROM jobq_worker WHERE label = :label)"
    )
    return [str(id) for (id,) in trial.rows(sql, label=label)]


def lowered(trial: Trial, site: Site, gemini: FakeGemini) -> None:
    """The provider allows 36 a minute from now on, and says so to nobody."""
    gemini.change(Limits(rpm=36))
    before = len(gemini.ledger.entries)
    jobs = enqueued(site, 90, "a roof")
    trial.until_done(jobs)
    entries = gemini.ledger.entries[before:]
    share = 100 * refusals(entries) / len(entries)
    trial.table.at_most("limit lowered to 36: 429s", 6, share, " %")
    trial.table.at_least("images a second, of 6", 0.95 * 6, pace(entries))
    attempts = max(job.attempts for job in trial.queue.get_many(jobs))
    trial.table.equal("attempts that a 429 has cost", 0, attempts - 1)
    gemini.change(Limits(rpm=RPM))


def no_credit(trial: Trial, site: Site, gemini: FakeGemini) -> None:
    """The credit of one key ends: the other goes on alone."""
    before = len(gemini.ledger.entries)
    gemini.script("no_credit", key="key-a", forever=True)
    jobs = enqueued(site, 40, "a wall")
    trial.until_done(jobs)
    entries = gemini.ledger.entries[before:]
    trial.table.equal("40 images, one key without credit", {"completed": 40}, trial.statuses(jobs))
    trial.table.at_most("requests with it", 2 * SLOTS, refusals(entries))
