"""`list`, `show`, `why`, `status`: what they find, for people and as JSON."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

import jobq
from jobq import backends
from tests.cli.conftest import Run

NOBODY = "01944f00-0000-7000-8000-000000000001"


def work_off(queue: jobq.Queue) -> None:
    asyncio.run(jobq.Worker(queue).run_once())


def alive(queue: jobq.Queue, **values: object) -> None:
    """Leave a living worker's row."""
    row = {
        "id": "h-1",
        "label": "web-1",
        "host": "h",
        "pid": 1,
        "queues": "[]",
        "types": '["mail"]',
        "limits": "{}",
        "pools": "{}",
    }
    numbers = {"slots": 4, "busy": 3, "abandoned": 1, "lease": 30_000_000}
    queue._store().run(backends.ops.heartbeat, **{**row, **numbers, **values})


@pytest.fixture
def failed(queue: jobq.Queue) -> jobq.Job:
    """A job that failed, with an escape sequence in its error."""

    @queue.router.handler("bad", retry=jobq.Retry(max_attempts=1))
    async def bad(payload: dict) -> None:
        raise ValueError("token=abc123\n\x1b[31mred")

    job = queue.enqueue(bad, {"to": "Zoë"}, owner="ann", metadata={"trace": 7}, unique_key="k")
    work_off(queue)
    return queue.get(job.id)


def test_list_shows_the_newest_first_without_payloads(queue: jobq.Queue, on: Run) -> None:
    first = queue.enqueue("mail", {"secret": "payload"}, priority="urgent")
    second = queue.enqueue("sms", {}, queue="fast", max_attempts=5)
    ran = on("list")
    header, *rows = [line.split() for line in ran.out.splitlines()]
    columns = "ID TYPE QUEUE STATUS PRIORITY ATTEMPTS PROGRESS CREATED NOTE"
    assert header == columns.split()
    assert rows[0][:7] == [second.id, "sms", "fast", "pending", "0", "0/5", "0"]
    assert rows[1][:6] == [first.id, "mail", "default", "pending", "100", "0"]
    assert "payload" not in ran.out
    assert "\x1b" not in ran.out


def test_the_columns_of_a_table_are_aligned(queue: jobq.Queue, on: Run) -> None:
    queue.enqueue("a_rather_long_type", {})
    queue.enqueue("short", {})
    lines = on("list").out.splitlines()
    assert len({line.index("default") for line in lines[1:]} | {lines[0].index("QUEUE")}) == 1


def test_list_filters(queue: jobq.Queue, on: Run) -> None:
    wanted = queue.enqueue("mail", {}, queue="fast", owner="ann")
    for other in ({"queue": "slow", "owner": "ann"}, {"queue": "fast", "owner": "bob"}):
        queue.enqueue("mail", {}, **other)
    queue.cancel(queue.enqueue("mail", {}, queue="fast", owner="ann"))
    words = "--status pending,failed --type mail --queue fast --owner ann"
    found = json.loads(on("list", *words.split(), "--json").out)
    assert [job["id"] for job in found["jobs"]] == [wanted.id]


def test_list_pages(queue: jobq.Queue, on: Run) -> None:
    ids = [queue.enqueue("mail", {}).id for _ in range(3)][::-1]
    first = json.loads(on("list", "--limit", 2, "--json").out)
    assert ([job["id"] for job in first["jobs"]], first["next"]) == (ids[:2], ids[1])
    last = json.loads(on("list", "--limit", 2, "--after", ids[1], "--json").out)
    assert ([job["id"] for job in last["jobs"]], last["next"]) == (ids[2:], None)
    assert on("list", "--limit", 2).err == f"there are more: --after {ids[1]}\n"


def test_list_says_when_there_is_nothing(on: Run) -> None:
    assert on("list") == (0, "no jobs\n", "")
    assert json.loads(on("list", "--json").out) == {"jobs": [], "next": None}


def test_list_prints_the_shape_that_every_interface_has(queue: jobq.Queue, on: Run) -> None:
    job = queue.enqueue("mail", {})
    assert json.loads(on("list", "--json").out)["jobs"] == [job.to_dict()]


@pytest.mark.parametrize(
    "words,message",
    [
        ("--status done", "'done' is no status"),
        ("--status pending,", "must be names between commas"),
        ("--limit 0", "must be an integer of at least 1"),
        ("--limit 5000", "limit=5000 must be from 1 to 1000"),
        ("--after 7", "'7' is not a job id"),
    ],
)
def test_list_refuses_what_makes_no_sense(on: Run, words: str, message: str) -> None:
    ran = on("list", *words.split())
    assert ran.code == 2
    assert message in ran.err


def test_a_table_shows_one_safe_line_of_an_error(failed: jobq.Job, on: Run) -> None:
    assert on("list").out.splitlines()[1].endswith("  ValueError: token=***")


def test_show_has_everything(failed: jobq.Job, on: Run) -> None:
    out = on("show", failed.id).out
    for words in (
        f"id          {failed.id}",
        "status      failed",
        "progress    0 %",
        "attempts    1/1",
        "error code  ValueError",
        "owner       ann",
        "unique key  k",
        '\npayload\n  {\n    "to": "Zoë"\n  }\n',
        '\nmetadata\n  {\n    "trace": 7\n  }\n',
        "\nerror\n  ValueError: token=***\n  \\x1b[31mred\n",
        "\nattempt 1: failed\n",
        "  Traceback (most recent call last):\n",
    ):
        assert words in out
    assert "\x1b" not in out
    assert "abc123" not in out


def test_show_has_everything_as_json(failed: jobq.Job, queue: jobq.Queue, on: Run) -> None:
    shown = json.loads(on("show", failed.id, "--json").out)
    assert failed.to_dict().items() <= shown.items()
    assert shown["payload"] == {"to": "Zoë"}
    assert (shown["owner"], shown["metadata"], shown["uniqueKey"]) == ("ann", {"trace": 7}, "k")
    (attempt,) = shown["history"]
    assert (attempt["number"], attempt["outcome"], attempt["errorCode"]) == (
        1,
        "failed",
        "ValueError",
    )
    assert attempt["startedAt"].endswith("Z")
    assert "Traceback" in attempt["traceback"]


def test_show_prints_progress_on_one_line(queue: jobq.Queue, on: Run) -> None:
    job = queue.enqueue("mail", {})
    queue.set_progress(job.id, 40, "half\nway")
    out = on("show", job.id).out
    assert "\nprogress  40 %\nmessage   half\\nway\n" in out


def test_show_prints_a_result(queue: jobq.Queue, on: Run) -> None:
    @queue.router.handler("sum")
    async def add(payload: list[int]) -> dict:
        return {"sum": sum(payload)}

    job = queue.enqueue(add, [1, 2])
    work_off(queue)
    assert '\nresult\n  {\n    "sum": 3\n  }\n' in on("show", job.id).out


@pytest.mark.parametrize("command", ["show", "why"])
def test_a_job_that_is_not_there_is_refused(on: Run, command: str) -> None:
    ran = on(command, NOBODY)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"jobq: no job has the id '{NOBODY}'")
    assert on(command, "seven").code == 2


def test_why_asks_the_database(queue: jobq.Queue, on: Run) -> None:
    job = queue.enqueue("mail", {})
    assert on("why", job.id).out.startswith("No worker is alive")
    alive(queue, types='["sms"]')
    assert on("why", job.id).out.startswith("No living worker knows the type 'mail', only 'sms'")
    alive(queue)
    assert on("why", job.id).out.startswith("Its payload was not checked yet")
    queue.pause("default", until=datetime(2090, 1, 1, tzinfo=UTC))
    assert on("why", job.id).out.startswith("Its queue 'default' is paused until 2090-01-01")
    queue.cancel(job)
    assert on("why", job.id).out.startswith("It was cancelled at ")


def test_why_goes_by_the_time_of_the_database(queue: jobq.Queue, on: Run) -> None:
    job = queue.enqueue("mail", {}, delay=3600)
    assert "(in 60 min)" in on("why", job.id).out


def test_why_names_a_declared_job_s_free_slots(queue: jobq.Queue, on: Run) -> None:
    queue.router.handler("mail")(print_nothing)
    job = queue.enqueue("mail", {})
    alive(queue, slots=5)
    assert (
        on("why", job.id, "--json").out
        == json.dumps(
            {
                "id": job.id,
                "status": "pending",
                "why": "It is due and 1 of 5 slots are free: a worker picks it up now.",
            },
            indent=2,
        )
        + "\n"
    )


async def print_nothing(payload: dict) -> None: ...


def test_status_counts_jobs_queues_and_workers(queue: jobq.Queue, url: str, on: Run) -> None:
    queue.enqueue("mail", {})
    queue.enqueue("mail", {}, queue="fast")
    queue.cancel(queue.enqueue("mail", {}))
    queue.pause("fast", until=datetime(2090, 1, 1, tzinfo=UTC))
    queue.pause("slow")
    alive(queue)
    rows = [" ".join(line.split()) for line in on("status").out.splitlines()]
    for row in (
        "pending 2",
        "cancelled 1",
        "default 1 0 0 0 no",
        "fast 1 0 0 0 until 2090-01-01 00:00:00Z",
        "slow 0 0 0 0 yes",
    ):
        assert row in rows
    assert rows[-1].startswith("web-1 alive 3/4 1 all mail ")


def test_status_as_json_has_the_same(queue: jobq.Queue, on: Run) -> None:
    queue.enqueue("mail", {})
    alive(queue, lease=0)
    state = json.loads(on("status", "--json").out)
    assert state["counts"]["pending"] == 1
    assert state["queues"] == [
        {"queue": "default", "paused": False, "pausedUntil": None, "live": {"pending": 1}}
    ]
    (worker,) = state["workers"]
    assert (worker["label"], worker["busy"], worker["slots"]) == ("web-1", 3, 4)
    assert (worker["abandoned"], worker["alive"]) == (1, False)


def test_status_shows_where_it_looked_without_the_password(postgres: str, run: Run) -> None:
    password = urlsplit(postgres).password or "none"
    for words in ([], ["--json"]):
        ran = run("status", "--url", postgres, *words)
        assert ran.code == 0
        assert (urlsplit(postgres).hostname or "") in ran.out
        assert f":{password}@" not in ran.out
