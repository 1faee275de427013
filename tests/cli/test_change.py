"""`enqueue`, `retry`, `cancel`, `delete`, `reschedule`, `pause`, `resume`, `cleanup`, `migrate`."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

import jobq
from tests.cli.conftest import Run

NOBODY = "01944f00-0000-7000-8000-000000000001"
MOVING = ["retry", "cancel", "delete"]


def jobs(queue: jobq.Queue) -> list[jobq.Job]:
    return list(queue.list().jobs)


# --- enqueue ------------------------------------------------------------------------------------


def test_enqueue_stores_a_job(queue: jobq.Queue, on: Run) -> None:
    ran = on("enqueue", "mail", '{"to": "ann"}')
    (job,) = jobs(queue)
    assert ran == (0, f"enqueued {job.id} (mail, queue default, pending)\n", "")
    assert (job.type, job.payload, job.declared) == ("mail", {"to": "ann"}, False)


def test_enqueue_takes_every_option(queue: jobq.Queue, on: Run) -> None:
    words = (
        "--queue fast --priority urgent --at 2090-01-31T12:00:00+02:00 --max-attempts 7 "
        "--timeout 2.5 --expires-at 2091-01-01T00:00:00Z --unique-key k --owner ann --keep 60"
    )
    ran = on("enqueue", "mail", "[1]", *words.split(), "--metadata", '{"a": 1}', "--json")
    (job,) = jobs(queue)
    assert json.loads(ran.out) == job.to_dict()
    assert (job.queue, job.priority, job.max_attempts, job.timeout) == ("fast", 100, 7, 2.5)
    assert job.run_at == datetime(2090, 1, 31, 10, tzinfo=UTC)
    assert job.expires_at == datetime(2091, 1, 1, tzinfo=UTC)
    assert (job.unique_key, job.owner, job.metadata) == ("k", "ann", {"a": 1})


def test_enqueue_takes_a_delay_a_number_and_no_timeout(queue: jobq.Queue, on: Run) -> None:
    on("enqueue", "mail", "--delay", 3600, "--priority", -5, "--no-timeout", "--no-keep")
    (job,) = jobs(queue)
    assert (job.run_at - job.created_at).total_seconds() == 3600
    assert (job.priority, job.timeout) == (-5, None)


def test_enqueue_reads_standard_input(
    queue: jobq.Queue, on: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"from": "a pipe"}'))
    on("enqueue", "mail", "-")
    assert jobs(queue)[0].payload == {"from": "a pipe"}


def test_enqueue_says_when_a_live_job_has_the_unique_key(queue: jobq.Queue, on: Run) -> None:
    job = queue.enqueue("mail", {"n": 1}, unique_key="k")
    ran = on("enqueue", "mail", '{"n": 1}', "--unique-key", "k")
    assert ran.code == 0
    assert ran.out.startswith(f"nothing enqueued: {job.id} ")
    other = on("enqueue", "mail", '{"n": 2}', "--unique-key", "k")
    assert other.code == 1
    assert "holds the unique_key 'k'" in other.err


def test_enqueue_checks_the_payload_where_it_knows_the_handler(folder: Path, run: Run) -> None:
    (folder / "typed_app.py").write_text(
        "import jobq\n"
        "router = jobq.Router()\n"
        "queue = jobq.Queue('sqlite:///typed.db', router=router)\n"
        "@router.handler('sum')\n"
        "async def add(payload: dict[str, int]) -> None: ...\n"
    )
    ran = run("enqueue", "sum", '{"a": "one"}', "--app", "typed_app:queue")
    assert ran.code == 1
    assert "Expected `int`, got `str`" in ran.err
    assert run("enqueue", "sum", '{"a": 1}', "--app", "typed_app:queue").code == 0


@pytest.mark.parametrize(
    "words,message",
    [
        (["{'to': 1}"], "the payload is not JSON"),
        (["NaN"], "the payload is not JSON"),
        (["{}", "--metadata", "[1]"], "metadata must be a mapping"),
        (["--priority", "soon"], "priority='soon' must be"),
        (["--priority", "99999"], "priority=99999 must be"),
        (["--at", "tomorrow"], "'tomorrow' is no instant; write 2030-01-31T12:00:00Z"),
        (["--at", "2030-01-31T12:00:00"], "has no time zone; write 2030-01-31T12:00:00Z for UTC"),
        (["--delay", "nan"], "must be a number of seconds, 0 or more"),
        (["--delay", "-1"], "must be a number of seconds, 0 or more"),
        (["--delay", "1", "--at", "2030-01-31T12:00:00Z"], "not allowed with argument"),
        (["--max-attempts", "0"], "must be an integer of at least 1"),
        (["--timeout", "0"], "timeout=0.0 must be above 0"),
        (["--queue", ""], "queue must be text of 1 to 100 letters"),
    ],
)
def test_enqueue_refuses_what_makes_no_sense(
    queue: jobq.Queue, on: Run, words: list[str], message: str
) -> None:
    ran = on("enqueue", "mail", *words)
    assert ran.code == 2
    assert message in ran.err
    assert jobs(queue) == []


# --- retry, cancel, delete ----------------------------------------------------------------------


def test_jobs_are_moved_by_id(queue: jobq.Queue, on: Run) -> None:
    job = queue.enqueue("mail", {})
    assert on("cancel", job.id) == (
        0,
        f"cancelled {job.id} (mail, queue default, cancelled)\n",
        "",
    )
    assert on("retry", job.id).out == f"retried {job.id} (mail, queue default, pending)\n"
    queue.cancel(job)
    assert on("delete", job.id).out == f"deleted {job.id}\n"
    assert jobs(queue) == []


def test_a_refusal_does_not_keep_other_jobs_from_being_moved(queue: jobq.Queue, on: Run) -> None:
    job = queue.enqueue("mail", {})
    done = queue.cancel(queue.enqueue("mail", {}))
    ran = on("cancel", NOBODY, done.id, job.id)
    assert ran.code == 1
    assert ran.out.startswith(f"cancelled {job.id}")
    assert [line[:20] for line in ran.err.splitlines()] == [
        "jobq: no job has the",
        "jobq: cannot cancel ",
    ]
    assert queue.get(job.id).status == "cancelled"


def test_what_was_moved_and_what_refused_is_told_in_json(queue: jobq.Queue, on: Run) -> None:
    job = queue.enqueue("mail", {})
    ran = on("cancel", job.id, NOBODY, "--json")
    told = json.loads(ran.out)
    assert ran.code == 1
    assert told["jobs"] == [queue.get(job.id).to_dict()]
    (error,) = told["errors"]
    assert (error["id"], error["error"]) == (NOBODY, "JobNotFound")
    assert json.loads(on("delete", job.id, "--json").out) == {
        "jobs": [{"id": job.id}],
        "errors": [],
    }


@pytest.mark.parametrize("command", MOVING)
def test_without_ids_and_filters_nothing_is_moved(queue: jobq.Queue, on: Run, command: str) -> None:
    job = queue.enqueue("mail", {})
    for words in ([], ["--dry-run"], ["--json"]):
        ran = on(command, *words)
        assert ran.code == 2
        assert "Give ids, or a filter: --status, --type, --queue or --owner" in ran.err
    assert queue.get(job.id).version == job.version


@pytest.mark.parametrize("command", MOVING)
def test_ids_and_filters_are_not_mixed(queue: jobq.Queue, on: Run, command: str) -> None:
    job = queue.cancel(queue.enqueue("mail", {}))
    for words in (["--type", "mail"], ["--dry-run"]):
        assert on(command, job.id, *words).code == 2
    assert queue.get(job.id).version == job.version


@pytest.mark.parametrize("command", MOVING)
def test_an_empty_filter_is_a_usage_error(queue: jobq.Queue, on: Run, command: str) -> None:
    job = queue.cancel(queue.enqueue("mail", {}))
    for name in ("--status", "--type", "--queue", "--owner"):
        assert on(command, name, "").code == 2
    assert queue.get(job.id).version == job.version


@pytest.mark.parametrize(
    "command,done", [("retry", "retried"), ("cancel", "cancelled"), ("delete", "deleted")]
)
def test_jobs_are_moved_by_filter_after_a_dry_run(
    queue: jobq.Queue, on: Run, command: str, done: str
) -> None:
    for owner in ("ann", "ann", "bob"):
        job = queue.enqueue("mail", {}, owner=owner)
        if command != "cancel":
            queue.cancel(job)
    before = jobs(queue)
    assert on(command, "--owner", "ann", "--dry-run").out == f"would {command} 2 jobs\n"
    assert jobs(queue) == before
    assert on(command, "--owner", "ann").out == f"{done} 2 jobs\n"
    assert json.loads(on(command, "--owner", "bob", "--json").out) == {"count": 1, "dryRun": False}


# --- reschedule ---------------------------------------------------------------------------------


def test_reschedule_gives_a_job_another_time_priority_and_queue(queue: jobq.Queue, on: Run) -> None:
    job = queue.enqueue("mail", {})
    words = "--at 2090-01-31T12:00:00Z --priority batch --queue slow"
    told = json.loads(on("reschedule", job.id, *words.split(), "--json").out)
    moved = queue.get(job.id)
    assert told == moved.to_dict()
    assert (moved.priority, moved.queue) == (-100, "slow")
    assert moved.run_at == datetime(2090, 1, 31, 12, tzinfo=UTC)
    assert on("reschedule", job.id, "--delay", 0).out.startswith(f"rescheduled {job.id} ")
    assert queue.get(job.id).run_at < moved.run_at


def test_reschedule_needs_something_to_change(queue: jobq.Queue, on: Run) -> None:
    job = queue.enqueue("mail", {})
    assert on("reschedule", job.id).code == 2
    queue.cancel(job)
    assert on("reschedule", job.id, "--delay", 0).code == 1


# --- the queue as a whole -----------------------------------------------------------------------


def test_a_queue_is_paused_and_resumed(queue: jobq.Queue, on: Run) -> None:
    assert on("pause", "mails", "--until", "2090-01-01T00:00:00Z").out == (
        "paused mails until 2090-01-01 00:00:00Z\n"
    )
    (state,) = queue.queues()
    assert (state.queue, state.paused_until) == ("mails", datetime(2090, 1, 1, tzinfo=UTC))
    assert on("resume", "mails").out == "resumed mails\n"
    assert queue.queues() == []
    assert json.loads(on("pause", "mails", "--json").out) == {
        "queue": "mails",
        "paused": True,
        "pausedUntil": None,
    }
    assert json.loads(on("resume", "mails", "--json").out)["paused"] is False
    assert on("pause").code == 2


def test_cleanup_deletes_what_finished_long_ago(queue: jobq.Queue, on: Run) -> None:
    live = queue.enqueue("mail", {})
    queue.cancel(queue.enqueue("mail", {}))
    assert on("cleanup").out == "deleted 0 jobs that finished more than 30 days ago\n"
    assert json.loads(on("cleanup", "--days", 0, "--json").out) == {"count": 1}
    assert [job.id for job in jobs(queue)] == [live.id]
    assert on("cleanup", "--days", -1).code == 2


def test_migrate_prints_its_sql_without_a_connection(run: Run) -> None:
    ran = run("migrate", "--sql", "--url", "postgresql://me:hunter2222@127.0.0.1:1/nowhere")
    assert ran.code == 0
    assert "CREATE TABLE jobq_job" in ran.out
    assert ran.out.rstrip().endswith("COMMIT;")


def test_a_schema_that_is_missing_is_named_and_migrated(postgres_database: str, run: Run) -> None:
    parts = urlsplit(postgres_database)
    name = f"{parts.path.strip('/')}_cli"
    url = parts._replace(path=f"/{name}").geturl()
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    before = run("status", "--url", url)
    assert before.code == 3
    assert "run `jobq migrate`" in before.err
    assert run("migrate", "--url", url).out.startswith("ran the schema's steps 1")
    assert run("migrate", "--url", url).out == "the schema is up to date\n"
    assert json.loads(run("migrate", "--url", url, "--json").out) == {"steps": []}
    assert run("status", "--url", url).code == 0
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name}")


def test_the_jobs_of_a_batch_can_be_named_together(on: Run, queue: jobq.Queue) -> None:
    batch = jobq.Batch()
    queue.enqueue_many([("work", {}), ("work", {})], batch=batch)
    queue.enqueue("work", {})
    assert len(json.loads(on("list", "--batch", batch.id, "--json").out)["jobs"]) == 2
    assert on("cancel", "--batch", batch.id).code == 0
    assert queue.batch(batch).progress == 100


def test_a_mistyped_file_is_an_error_and_is_not_made(tmp_path: Path, run: Run) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    assert run("migrate", "--url", url).code == 0
    mistyped = tmp_path / "jbos.db"
    ran = run("status", "--url", f"sqlite:///{mistyped}")
    assert ran.code == 2
    assert f"there is no file '{mistyped}'; `jobq migrate` makes one" in ran.err
    assert not mistyped.exists()
