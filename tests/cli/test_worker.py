"""`jobq worker` as a process: how it starts, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import jobq
from jobq.cli._reload import _wait
from tests.cli.conftest import Process, Run, Start


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def get(port: int, path: str) -> tuple[int, object]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """What the handler `read` waits for."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_a_burst_works_off_what_is_due_and_ends_with_0(queue: jobq.Queue, start: Start) -> None:
    job = queue.enqueue("greet", {"name": "ann"})
    with start("worker", "app:queue", "--burst", "--label", "web-1") as worker:
        assert worker.ends() == 0
    assert queue.get(job.id).result == {"hello": "ann"}
    assert "jobq: worker web-1 runs census, deaf, greet, meet, read" in worker.output
    assert f"INFO     app: [greet {job.id}] greeting with token=***\n" in worker.output


def test_collections_of_garbage_leave_alone_what_a_worker_has_when_it_begins(
    queue: jobq.Queue, start: Start
) -> None:
    job = queue.enqueue("census")
    with start("worker", "app:queue", "--burst") as worker:
        assert worker.ends() == 0
    counted = queue.get(job.id).result
    assert counted["looked at"] < counted["left alone"] / 10


def test_a_worker_ends_after_so_many_jobs(queue: jobq.Queue, start: Start) -> None:
    for _ in range(3):
        queue.enqueue("greet", {"name": "ann"})
    with start("worker", "app:queue", "--max-jobs", "2", "--concurrency", "1") as worker:
        assert worker.ends() == 0
    assert queue.counts()["completed"] == 2


def test_a_worker_ends_after_so_many_seconds(start: Start) -> None:
    with start("worker", "app:queue", "--max-seconds", "0.1") as worker:
        assert worker.ends() == 0


def test_handlers_that_leave_the_event_loop_all_have_a_thread(
    queue: jobq.Queue, start: Start
) -> None:
    jobs = [queue.enqueue("meet", max_attempts=1).id for _ in range(40)]
    with start("worker", "app:queue", "--burst", "--concurrency", "40") as worker:
        assert worker.ends() == 0
    assert sorted(job.result for job in queue.get_many(jobs)) == list(range(40))


def test_a_worker_serves_the_queues_it_is_told(queue: jobq.Queue, start: Start) -> None:
    default = queue.enqueue("greet", {"name": "ann"})
    fast = queue.enqueue("greet", {"name": "bob"}, queue="fast")
    with start("worker", "app:queue", "--burst", "--queues", "fast,other") as worker:
        assert worker.ends() == 0
    assert queue.get(default.id).status == "pending"
    assert queue.get(fast.id).status == "completed"


def test_the_environment_stands_in_for_options(queue: jobq.Queue, start: Start) -> None:
    queue.enqueue("wait")
    environment = {
        "JOBQ_APP": "app:queue",
        "JOBQ_QUEUES": "default, fast",
        "WORKER_CONCURRENCY": "3",
        "WORKER_ID": "web.1",
        "JOBQ_GRACE": "0",
        "JOBQ_LOG_LEVEL": "warning",
    }
    with start("worker", **environment) as worker:
        worker.until("started")
        while not (rows := queue.workers()):
            pass
        worker.signal(signal.SIGTERM)
        assert worker.ends() == 0
    (row,) = rows
    assert (row.label, row.slots, row.queues) == ("web.1", 3, ("default", "fast"))
    assert "INFO" not in worker.output


def test_sigterm_lets_running_jobs_finish(queue: jobq.Queue, start: Start, fifo: Path) -> None:
    job = queue.enqueue("read", {"fifo": str(fifo)})
    with start("worker", "app:queue", "--grace", "60") as worker:
        worker.until("started")
        worker.signal(signal.SIGTERM)
        worker.until("SIGTERM: finishing what is running")
        fifo.write_text("done")
        assert worker.ends() == 0
    assert queue.get(job.id).result == "done"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_outlasts_the_grace_is_given_back(
    queue: jobq.Queue, start: Start, number: signal.Signals
) -> None:
    job = queue.enqueue("wait")
    with start("worker", "app:queue", "--grace", "0") as worker:
        worker.until("started")
        worker.signal(number)
        assert worker.ends() == 0
    left = queue.get(job.id)
    assert (left.status, left.attempts, left.released_count) == ("pending", 0, 1)


def test_a_second_signal_ends_the_grace(queue: jobq.Queue, start: Start) -> None:
    job = queue.enqueue("wait")
    with start("worker", "app:queue", "--grace", "3600") as worker:
        worker.until("started")
        worker.signal(signal.SIGTERM)
        worker.until("SIGTERM: finishing what is running")
        worker.signal(signal.SIGTERM)
        assert worker.ends() == 0
    assert (queue.get(job.id).status, queue.get(job.id).attempts) == ("pending", 0)


@pytest.mark.parametrize(
    "type,farewell",
    [
        ("stuck", "ending although these still run: stuck (app.stuck)"),
        ("stuck_beneath", "something still runs 2 s after the end; leaving it behind"),
    ],
)
def test_a_thread_that_hangs_does_not_keep_a_stopped_worker(
    queue: jobq.Queue, start: Start, type: str, farewell: str
) -> None:
    job = queue.enqueue(type)
    with start("worker", "app:queue", "--grace", "0") as worker:
        worker.until("started")
        worker.signal(signal.SIGTERM)
        assert worker.ends() == 0
    assert farewell in worker.output
    assert (queue.get(job.id).status, queue.get(job.id).attempts) == ("pending", 0)


def test_a_worker_whose_handlers_all_hang_names_them_and_ends_with_70(
    queue: jobq.Queue, start: Start
) -> None:
    jobs = [queue.enqueue("deaf"), queue.enqueue("stuck", timeout=0.2)]
    with start("worker", "app:queue", "--concurrency", "2") as worker:
        assert worker.ends() == 70
    (line,) = [line for line in worker.output.splitlines() if "CRITICAL" in line]
    assert line.endswith("handlers that hang: deaf (app.deaf), stuck (app.stuck)")
    assert {queue.get(job.id).error_code for job in jobs} == {"timeout"}


def test_probes_are_answered_on_the_port(queue: jobq.Queue, start: Start, fifo: Path) -> None:
    queue.enqueue("read", {"fifo": str(fifo)})
    port = free_port()
    with start("worker", "app:queue", "--grace", "60", PORT=str(port)) as worker:
        worker.until("started")
        assert get(port, "/health") == (200, {"status": "healthy"})
        assert get(port, "/ready") == (200, {"status": "ready"})
        worker.signal(signal.SIGTERM)
        worker.until("SIGTERM: finishing what is running")
        assert get(port, "/health") == (200, {"status": "healthy"})
        assert get(port, "/ready")[0] == 503
        fifo.write_text("done")
        assert worker.ends() == 0


def test_a_port_that_is_taken_is_a_configuration_error(start: Start) -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with start("worker", "app:queue", "--port", str(port)) as worker:
            assert worker.ends() == 2
    assert f"jobq: cannot answer probes on port {port}: " in worker.output


def test_a_worker_without_handlers_is_a_configuration_error(run: Run, folder: Path) -> None:
    (folder / "idle_app.py").write_text(
        "import jobq\nqueue = jobq.Queue('sqlite:///idle.db', router=jobq.Router())\n"
    )
    ran = run("worker", "idle_app:queue")
    assert ran.code == 2
    assert "this worker has no handlers" in ran.err


def test_a_worker_that_cannot_reach_its_database_ends_with_3(run: Run, folder: Path) -> None:
    (folder / "lost_app.py").write_text(
        "import jobq\n"
        "router = jobq.Router()\n"
        "router.handler('mail')(lambda: None)\n"
        "queue = jobq.Queue('postgresql://me:hunter2222@127.0.0.1:1/db', router=router,\n"
        "                   patience=0.1)\n"
    )
    ran = run("worker", "lost_app:queue")
    assert ran.code == 3
    assert "hunter2222" not in ran.err


def test_an_app_whose_lifespan_fails_ends_with_1(
    run: Run, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "weak_app.py").write_text(
        "import contextlib, jobq\n"
        "router = jobq.Router()\n"
        "router.handler('mail')(lambda: None)\n"
        "@contextlib.asynccontextmanager\n"
        "async def lifespan():\n"
        "    raise RuntimeError('no licence')\n"
        "    yield\n"
        "queue = jobq.Queue('sqlite:///weak.db', router=router, lifespan=lifespan)\n"
    )
    assert run("worker", "weak_app:queue").code == 1
    assert "no licence" in caplog.text


@pytest.mark.parametrize(
    "words,message",
    [
        ("--queues a,,b", "must be names between commas"),
        ("--concurrency 0", "must be an integer of at least 1"),
        ("--threads two", "must be an integer of at least 1"),
        ("--lease 0", "lease=0.0"),
        ("--grace -1", "must be a number of seconds, 0 or more"),
        ("--max-seconds soon", "must be a number of seconds, 0 or more"),
        ("--max-jobs 0", "must be an integer of at least 1"),
        ("--port 70000", "must be a port from 0 to 65535"),
        ("--log-level LOUD", "log level 'LOUD' is none of DEBUG, INFO"),
    ],
)
def test_a_worker_refuses_what_makes_no_sense(
    run: Run, folder: Path, words: str, message: str
) -> None:
    (folder / "strict_app.py").write_text(
        "import jobq\n"
        "router = jobq.Router()\n"
        "router.handler('mail')(lambda: None)\n"
        "queue = jobq.Queue('sqlite:///strict.db', router=router)\n"
    )
    ran = run("worker", "strict_app:queue", "--burst", *words.split())
    assert ran.code == 2
    assert message in ran.err


def test_a_changed_module_starts_the_worker_anew(
    queue: jobq.Queue, start: Start, tmp_path: Path
) -> None:
    with start("worker", "app:queue", "--reload", "--grace", "0") as worker:
        worker.until(" runs census, deaf, greet, ")
        with (tmp_path / "app.py").open("a") as app:
            app.write("jobq.handler('brand_new')(lambda: None)\n")
        worker.until("app.py changed, starting the worker again")
        worker.until(" runs brand_new, census, deaf, ")
        worker.signal(signal.SIGTERM)
        assert worker.ends() == 0


def test_a_worker_that_does_not_end_is_killed_before_the_next_one_starts() -> None:
    code = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('ready', flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.terminate()
        assert _wait(child, patience=0.1) == -signal.SIGKILL


def test_reload_says_what_it_needs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    ran = run("worker", "app:queue", "--reload")
    assert (ran.code, ran.err) == (
        2,
        "jobq: --reload needs watchfiles: pip install 'jobq[reload]'\n",
    )


def test_an_app_that_is_not_there_ends_the_process_with_2(tmp_path: Path) -> None:
    with Process(tmp_path, "worker", "nowhere:queue") as worker:
        assert worker.ends() == 2
    assert "there is no module 'nowhere'" in worker.output
