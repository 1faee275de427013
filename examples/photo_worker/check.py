"""A day's quota, a refusal, a machine that stands still: seen through the document's queries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg

from examples.fakegemini import FakeGemini, Limits, Options
from examples.trial import Site, Trial, letting_go, under_way, wait_until

APP = "examples.photo_worker.app:queue"
RPM, RPD, SPEED = 300, 200, 10
TABLE = "FROM photo_generation_queue WHERE status"
PENDING = f"SELECT COUNT(*) {TABLE} = 'pending'"
RATE_LIMITED = f"""SELECT COUNT(*), MIN("retryAt") {TABLE} = 'rate_limited'"""
PROCESSING = f"SELECT * {TABLE} = 'processing'"
STALE = f"""SELECT * {TABLE} = 'processing' AND "lockedAt" < NOW() - INTERVAL '5 minutes'"""
RELEASE = """UPDATE photo_generation_queue
SET "lockedBy" = NULL, "lockedAt" = NULL, status = 'pending'
WHERE status = 'processing' AND "lockedAt" < NOW() - INTERVAL '5 minutes'"""


def check(trial: Trial) -> None:
    gemini = prepare(trial)
    site = trial.serve(
        "examples.photo_worker.app:web", WORKER_SECRET="a-long-secret-of-the-scheduler"
    )
    trial.run("jobq", "worker", APP, "--burst")  # declares the limits
    trial.hurry(SPEED)

    jobs = enqueued(site, 300)
    batches(trial, site, gemini, jobs)
    refused(trial, gemini)
    daemons(trial, site, gemini)
    trial.until_done(jobs)
    trial.table.equal("all 320 photos", {"completed": 320}, trial.statuses(everything(trial)))
    [(prompts, photos)] = trial.rows("SELECT count(DISTINCT prompt), count(*) FROM photo")
    trial.table.equal("photos: prompts, rows", (320, 320), (prompts, photos))


def play(trial: Trial) -> None:
    prepare(trial)
    site = trial.serve("examples.photo_worker.app:web")
    trial.worker(APP, WORKER_ID="photo-1")
    print(f"POST {site.url}/functions/v1/generate-images; psql {trial.url}")


def prepare(trial: Trial) -> FakeGemini:
    gemini = trial.provider(Options(rpm=RPM, rpd=RPD, speed=SPEED, latency=0.2 * SPEED, seed=2))
    trial.env(
        GEMINI_API_KEY="made-up", GEMINI_RPM=str(RPM), GEMINI_RPD=str(RPD), WORKER_CONCURRENCY="20"
    )
    trial.run("jobq", "migrate", "--app", APP)
    schema = Path(__file__).with_name("schema.sql").read_text()
    with psycopg.connect(trial.url) as connection:
        connection.execute(schema.encode())
    return gemini


def enqueued(site: Site, count: int, name: str = "a door") -> list[str]:
    photos = [{"prompt": f"{name}, number {number}"} for number in range(count)]
    return list(site.post("/functions/v1/generate-images", json=photos).json())


def everything(trial: Trial) -> list[str]:
    return [str(id) for (id,) in trial.rows("SELECT id FROM photo_generation_queue")]


def batches(trial: Trial, site: Site, gemini: FakeGemini, jobs: list[str]) -> None:
    """A call of the scheduler, then bursts, until the day's quota is used up."""
    secret = {"authorization": "Bearer a-long-secret-of-the-scheduler"}
    called = site.post("/functions/v1/process-generation-queue?maxJobs=20", headers=secret)
    trial.table.equal("a scheduled call ran", 20, called.json()["processed"])
    for _ in range(2):
        trial.run("jobq", "worker", APP, "--burst", "--max-seconds", "15")
    done = trial.statuses(jobs)
    trial.table.equal("photos on a day of 200", {"completed": 200, "pending": 100}, done)
    trial.table.equal("requests that Gemini saw", 200, len(gemini.ledger.entries))
    trial.table.equal("429s", 0, refusals(gemini))
    rest = [job for job in map(trial.queue.get, jobs) if not job.status.finished]
    trial.table.equal("attempts of the others", 0, sum(job.attempts for job in rest))
    late = {(job.retry_at - midnight()).total_seconds() for job in rest if job.retry_at}
    trial.table.between("their retryAt after midnight in L. A.", 0, 60, max(late, default=-1), " s")
    trial.table.equal("the document's count of pending", [(100,)], trial.rows(PENDING))


def midnight() -> datetime:
    """The next one in California."""
    today = datetime.now(UTC).astimezone(ZoneInfo("America/Los_Angeles"))
    return (today + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


def refusals(gemini: FakeGemini) -> int:
    outcomes = gemini.ledger.outcomes()
    return outcomes["rate_limited"] + outcomes["day_limited"]


def refused(trial: Trial, gemini: FakeGemini) -> None:
    """The quota is raised; then Gemini refuses all the same, once."""
    gemini.change(Limits(rpm=RPM))
    trial.run("jobq", "limits", "set", "gemini-day", "--n", "1000", "--url", trial.url)
    gemini.script("rate_limited")
    before = refusals(gemini)
    while refusals(gemini) == before:
        trial.run("jobq", "worker", APP, "--max-jobs", "1")
    [(count, retry_at)] = trial.rows(RATE_LIMITED)
    trial.table.equal("one refusal: rate_limited", (1, 1), (refusals(gemini) - before, count))
    rest = retry_at.timestamp() - gemini.ledger.entries[-1].arrived
    trial.table.between("its retryAt after the 429", 0, 90, rest, " s")
    [(attempts,)] = trial.rows(f"SELECT attempts {TABLE} = 'rate_limited'")
    trial.table.equal("and its attempts", 0, attempts)
    trial.run("jobq", "limits", "resume", "gemini", "--url", trial.url)


def daemons(trial: Trial, site: Site, gemini: FakeGemini) -> None:
    """Two workers; the machine of one stands still for longer than its lease."""
    before = refusals(gemini)
    gemini.script(*["held"] * 20)
    frozen = trial.worker(APP, WORKER_ID="photo-a", JOBQ_LEASE="3")
    enqueued(site, 20, name="a window")
    wait_until(lambda: under_way(gemini) >= 10)
    held = {row[5] for row in trial.rows(PROCESSING)}
    trial.freeze(frozen)
    trial.worker(APP, WORKER_ID="photo-b", JOBQ_LEASE="3")
    trial.table.equal("locked by", {"photo-a"}, held)
    seconds = wait_until(lambda: {row[5] for row in trial.rows(PROCESSING)} == {"photo-b"})
    trial.table.at_most("locks released after", 3 + 3, seconds, " s")
    trial.table.equal("stale locks, as the document looks", [], trial.rows(STALE))
    with psycopg.connect(trial.url) as connection:
        count = connection.execute(RELEASE.encode()).rowcount
    trial.table.equal("and what its UPDATE does", 0, count)
    with letting_go(gemini):
        trial.until_done(everything(trial))
    frozen.thaw()
    frozen.stop()
    trial.table.equal("429s with two daemons", 0, refusals(gemini) - before)
