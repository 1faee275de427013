"""manage.py jobq_worker and its companions."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

import jobq
from jobq.contrib.django import DjangoQueue, _database, models
from jobq.contrib.django._logging import LOGGERS
from jobq.contrib.django._worker import worker_queue
from tests.django.shop.models import Order

ROOT = Path(__file__).parent.parent.parent
Command = list[str]
SECRET = "whsec_" + "c2VjcmV0" * 6


def work_off(queue: DjangoQueue, **options: Any) -> int:
    worker = jobq.Worker(worker_queue(queue), **options)
    return asyncio.run(worker.run_once())


def test_a_worker_runs_handlers_of_both_kinds_on_its_own_connections(
    queue: DjangoQueue, alias: str
) -> None:
    Order.objects.using(alias).create(total=3)
    names = ("shop.total", "shop.total_async") * 3
    jobs = [queue.enqueue(name, {"using": alias}) for name in names]
    assert work_off(queue) == 6
    assert [job.result for job in queue.get_many(jobs)] == [3] * 6


def test_handlers_of_a_worker_spend(queue: DjangoQueue) -> None:
    for type in ("shop.pay", "shop.pay_async"):
        queue.enqueue(type, {"usd": 1})
    assert work_off(queue) == 2
    assert sum(one.requests for one in queue.spend()) == 2


def test_handlers_of_a_worker_save(alias: str, tmp_path: Path) -> None:
    with override_settings(JOBQ={"DATABASE": alias, "ARTIFACTS": str(tmp_path)}):
        queue = DjangoQueue()
        for type in ("shop.draw", "shop.draw_async", "shop.frame"):
            queue.enqueue(type, {"text": type})
        assert work_off(queue) == 3
        for job in queue.list(status="completed").jobs:
            [saved] = queue.artifacts(job)
            assert (saved.status, saved.sha256) == ("stored", job.result)
            assert (tmp_path / saved.key).read_bytes() == job.type.encode()


def test_stale_connections_are_closed_around_each_job_in_its_thread(queue: DjangoQueue) -> None:
    jobs = [queue.enqueue("shop.count_connections", n) for n in range(3)]
    work_off(queue, concurrency=1)
    assert [job.result for job in queue.get_many(jobs)] == [False] * 3


def test_an_asynchronous_handler_has_a_thread_of_its_own(queue: DjangoQueue) -> None:
    jobs = [queue.enqueue("shop.meet", {"n": 2}) for _ in range(2)]
    work_off(queue, concurrency=2)
    assert [job.result for job in queue.get_many(jobs)] == ["met"] * 2


def test_a_worker_has_everything_that_the_project_has_set(alias: str) -> None:
    webhooks = {"shop": jobq.Webhook(url="https://shop.example/hook", secret=SECRET)}
    options: dict[str, Any] = {"KEEP": 60, "BUDGET": jobq.Budget(per_job=7), "WEBHOOKS": webhooks}
    with override_settings(JOBQ={"DATABASE": alias, **options}):
        config = worker_queue(DjangoQueue())._config
    assert (config.keep, config.budget) == (60_000_000, jobq.Budget(per_job=7))
    assert config.webhooks == webhooks
    assert config.router.get("shop.total") is not None


def test_the_workers_address_is_the_databases(alias: str) -> None:
    url = _database.url(alias)
    with jobq.Queue(url) as queue:
        assert queue.counts()["pending"] == 0
    if alias == "postgresql":
        settings = connections[alias].settings_dict
        before, settings["OPTIONS"] = settings["OPTIONS"], {"assume_role": "clerk", "pool": True}
        try:
            assert "options=-c%20role%3Dclerk" in _database.url(alias)
        finally:
            settings["OPTIONS"] = before


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """What `jobq_worker` logs is for its process; here others come after it."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def run(name: str, *args: str, **options: Any) -> str:
    output = io.StringIO()
    call_command(name, *args, stdout=output, **options)
    return output.getvalue()


def test_jobq_status_shows_how_the_queue_stands(queue: DjangoQueue) -> None:
    queue.enqueue("shop.fail", None)
    assert "pending" in run("jobq_status")
    assert json.loads(run("jobq_status", "--json"))["counts"]["pending"] == 1


def test_jobq_cleanup_deletes_what_finished_long_ago(queue: DjangoQueue) -> None:
    job = queue.enqueue("shop.fail", None)
    queue.cancel(job.id)
    assert (
        run("jobq_cleanup", "--days", "1") == "deleted 0 jobs that finished more than 1 days ago\n"
    )
    assert json.loads(run("jobq_cleanup", "--days", "0", "--json")) == {"count": 1}


def test_commands_name_another_database(queue: DjangoQueue) -> None:
    queue.enqueue("shop.fail", None, using="other")
    counts = json.loads(run("jobq_status", "--json", "--database", "other"))["counts"]
    assert counts["pending"] == 1


def test_a_burst_ends_when_nothing_is_left(queue: DjangoQueue, alias: str) -> None:
    job = queue.enqueue("shop.total", {"using": alias})
    run("jobq_worker", "--batch", "--concurrency", "2", "--log-level", "CRITICAL")
    assert queue.get(job.id).status == "completed"
    assert list(models.Worker.objects.all()) == []


def test_an_error_ends_a_command_with_jobqs_exit_code(queue: DjangoQueue) -> None:
    with override_settings(JOBQ={"COLOUR": "red"}), pytest.raises(CommandError) as raised:
        run("jobq_status")
    assert (raised.value.returncode, "COLOUR" in str(raised.value)) == (2, True)


class Site:
    """A project in processes of its own."""

    def __init__(self, alias: str, folder: Path) -> None:
        settings = connections[alias].settings_dict
        keys = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
        self.log = folder / "log.txt"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.env = {
            **os.environ,
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            "DJANGO_SETTINGS_MODULE": "tests.django.site",
            "SITE_DATABASE": json.dumps({key: settings[key] for key in keys}),
        }

    def manage(self, *args: str, **env: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "django", *args]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env={**self.env, **env}, stderr=log)
        self.processes.append(process)
        return process

    def said(self, text: str) -> bool:
        return text in self.log.read_text()

    def wait_until_said(self, text: str, times: int = 1) -> None:
        while not self.has_said(text, times=times, within=5.0):
            pass

    def has_said(self, text: str, *, times: int, within: float) -> bool:
        """Whether it has said so after that many seconds."""
        until = time.monotonic() + within
        while (found := self.log.read_text().count(text)) < times and time.monotonic() < until:
            time.sleep(0.05)
        return found >= times


@pytest.fixture
def site(alias: str, tmp_path: Path) -> Iterator[Site]:
    site = Site(alias, tmp_path)
    yield site
    for process in site.processes:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.timeout(120)
def test_sigterm_lets_the_running_job_finish(site: Site, queue: DjangoQueue) -> None:
    job = queue.enqueue("shop.slow", {"seconds": 2})
    waiting = queue.enqueue("shop.slow", {"seconds": 2})
    worker = site.manage("jobq_worker", "--concurrency", "1", "--no-reload")
    while queue.get(job.id).status == "pending":
        time.sleep(0.05)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert (queue.get(job.id).status, queue.get(waiting.id).status) == ("completed", "pending")
    assert site.said("finishing what is running")


@pytest.mark.timeout(180)
def test_in_debug_the_worker_starts_again_when_code_changes(
    site: Site, queue: DjangoQueue, tmp_path: Path
) -> None:
    module = tmp_path / "extra_jobs.py"
    source = "import jobq\n@jobq.handler('extra')\ndef extra(payload): return {}\n"
    module.write_text(source.format(1))
    (tmp_path / "extra_settings.py").write_text(
        "from tests.django.site import *\nimport extra_jobs\nDEBUG = True\n"
    )
    worker = site.manage("jobq_worker", DJANGO_SETTINGS_MODULE="extra_settings")
    first = queue.enqueue("extra", None)
    assert queue.wait(first.id, 60).result == 1
    module.write_text(source.format(2))
    for ago in range(100, 0, -5):  # what changed before Django's first look it does not see
        os.utime(module, (time.time() - ago, time.time() - ago))
        if site.has_said(" runs ", times=2, within=5.0):
            break
    second = queue.enqueue("extra", None)
    assert queue.wait(second.id, 60).result == 2
    worker.send_signal(signal.SIGINT)
    assert worker.wait(60) == 0
