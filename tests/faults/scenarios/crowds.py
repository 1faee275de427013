"""Many clients who wait for jobs, on one process that also works."""

from __future__ import annotations

import asyncio
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx

from tests.faults import checker
from tests.faults.actors import Actor
from tests.faults.checker import Check
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.served import Served, allow_many_files

JOBS = 20
USER, STRANGER = {"x-user": "ada"}, {"x-user": "mallory"}
LOOK = 2.0
"""Seconds for which the calls of the database are counted."""
CALLS = 60
"""The most that a process may make in them: it looks four times a second, and its worker too."""
SESSIONS = 25
"""The most sessions: the pool's, the watcher's, the worker's, and the laboratory's own."""
MEMORY, EACH = 32 * 1024 * 1024, 150_000
"""Bytes that a crowd may take, and each of it."""
TAKES = 10.0
"""Seconds that a job may take meanwhile, from its storing to its end."""
Told = tuple[int, str]


@scenario("http-crowd", codes=("F48",), full=1000, quick=200, tiny=20)
def http_crowd(lab: Lab) -> Findings:
    """A crowd waits by polls and streams; memory, sessions and calls are bounded, jobs go on."""
    many = lab.choose(full=1000, quick=200, tiny=20)
    allow_many_files()
    server = lab.actor("server", kind=Served)
    lab.await_ready([server])
    [ready] = lab.histories.of("ready")
    root = f"http://127.0.0.1:{ready['port']}"
    jobs = [lab.queue.enqueue("noop", {}, owner="ada", delay=3600).id for _ in range(JOBS)]
    facts = before = _facts(root)
    findings = Findings()
    with ThreadPoolExecutor(1) as pool:
        crowd: Future[list[Told]] = pool.submit(asyncio.run, _crowd(root, jobs, many))
        lab.until(lambda: _facts(root)["waiting"] == many, 120, "all of them wait")
        findings.hits = findings.trials = many
        facts = _facts(root)
        time.sleep(LOOK)
        calls = _facts(root)["calls"] - facts["calls"]
        took = _work_meanwhile(lab)
        findings.check(*_bounded(lab, before, facts, calls, many), *_strangers(root, jobs))
        lab.queue.cancel_where(type="noop")
        told = crowd.result()
    findings.check(
        checker.each("everybody is told the end", told, lambda one: one[0] == 200),
        checker.each("the end is the job's", told, lambda one: '"status":"cancelled"' in one[1]),
        lab.in_time("jobs are run meanwhile", took, TAKES),
        _ends(server),
    )
    findings.figures = {
        "kB for each": round((facts["memory"] - before["memory"]) / many / 1000),
        "calls of the database a second": round(calls / LOOK),
    }
    return findings


def _facts(root: str) -> dict[str, int]:
    facts: dict[str, int] = httpx.get(f"{root}/facts", timeout=60).json()
    return facts


async def _crowd(root: str, jobs: list[str], many: int) -> list[Told]:
    """All who wait: half of them poll, half follow the events."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(headers=USER, timeout=600, limits=limits) as client:
        ask: Any = (_poll, _follow)
        urls = [f"{root}/jobs/{jobs[n % len(jobs)]}" for n in range(many)]
        return await asyncio.gather(*(ask[n % 2](client, url) for n, url in enumerate(urls)))


async def _poll(client: httpx.AsyncClient, url: str) -> Told:
    answer = await client.get(url, params={"wait": 300})
    return answer.status_code, answer.text


async def _follow(client: httpx.AsyncClient, url: str) -> Told:
    answer = await client.get(f"{url}/events")
    return answer.status_code, answer.text.rpartition("event: end")[2]


def _work_meanwhile(lab: Lab) -> list[float]:
    """The seconds that jobs take while the crowd waits."""
    new = [lab.queue.enqueue("noop", {"n": n}) for n in range(JOBS)]
    done = [lab.queue.wait(job, 60) for job in new]
    return [(job.completed_at - job.created_at).total_seconds() for job in done if job.completed_at]


def _bounded(
    lab: Lab, before: dict[str, int], facts: dict[str, int], calls: int, many: int
) -> list[Check]:
    grown = facts["memory"] - before["memory"]
    checks = [
        checker.that("the crowd's memory is bounded", grown < MEMORY + EACH * many, grown),
        checker.that("the crowd asks the database nothing", calls < CALLS, calls),
    ]
    if lab.is_postgres:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'jobq%'"
        [(sessions,)] = lab.sql(sql)
        checks.append(checker.that("its sessions are bounded", sessions <= SESSIONS, sessions))
    return checks


def _strangers(root: str, jobs: list[str]) -> list[Check]:
    """What those see who have no job here, or guess."""
    others = [httpx.get(f"{root}/jobs/{id}", headers=STRANGER).status_code for id in jobs]
    guessed = [httpx.get(f"{root}/jobs/{uuid4()}", headers=USER).status_code for _ in jobs]
    return [
        checker.each("another's job is forbidden", others, lambda status: status == 403),
        checker.each("a guessed job is not found", guessed, lambda status: status == 404),
    ]


def _ends(server: Actor) -> Check:
    server.terminate()
    code, _ = server.wait(60)
    return checker.that("the server ends cleanly", code in (0, -signal.SIGTERM), code)
