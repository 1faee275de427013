"""The HTTP API while its database cannot be reached: PostgreSQL only."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import httpx

import jobq
from tests.contract.adapters import Setup, serve_starlette
from tests.faults import checker
from tests.faults.app import router
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.proxy import Proxy

PATIENCE = 1.0
ANSWER = 1.0
BOUND = PATIENCE + ANSWER + 1.0
"""Seconds that a refusal may take: a connection waited for, an answer, and a crowd of clients."""
WAIT = 3.0
MANY = httpx.Limits(max_connections=100)
USER = {"x-user": "ada"}
Answered = tuple[int, str, float]


@scenario("http-outage", codes=("F48",), databases=("postgresql",), full=100, quick=20, tiny=6)
def http_outage(lab: Lab) -> Findings:
    """Requests during an outage get 503 in time and no insides; afterwards all is as before."""
    rounds = lab.choose(full=5, quick=2, tiny=1)
    many = lab.choose(full=20, quick=10, tiny=4)
    during: list[Answered] = []
    waited: list[Answered] = []
    after: list[Answered] = []
    with (
        Proxy(lab.url) as proxy,
        closing(
            jobq.Queue(proxy.url, router=router, patience=PATIENCE, statement_timeout=ANSWER)
        ) as queue,
        serve_starlette(Setup(queue=queue, options={"allow": ["step"]})) as mounts,
        httpx.Client(headers=USER, timeout=60, limits=MANY) as http,
        ThreadPoolExecutor(3 * many) as clients,
    ):
        get = partial(_get, http)
        job = lab.queue.enqueue("step", {"seconds": 0}, owner="ada", delay=3600)
        urls = [f"{mounts.jobs}/{job.id}", f"{mounts.jobs}", f"{mounts.jobs}/ready"]
        for number in range(rounds):
            waiting = [clients.submit(get, f"{urls[0]}?wait={WAIT}") for _ in range(many)]
            _until_waited_for(lab, queue, many)
            _break(proxy, frozen=number % 2 == 0)
            asked = [clients.submit(get, url) for url in urls for _ in range(many // 2)]
            during += [one.result() for one in asked]
            waited += [one.result() for one in waiting]
            _mend(proxy, frozen=number % 2 == 0)
            lab.until(lambda: get(urls[2])[0] == 200, 30, "the database is reached again")
            after += [get(url) for url in urls]
    findings = Findings(trials=len(during), hits=sum(status == 503 for status, _, _ in during))
    findings.check(
        checker.each("a request is refused with 503", during, lambda one: one[0] == 503),
        checker.each(
            "who waited is refused, or told what was known",
            waited,
            lambda one: one[0] in (200, 503),
        ),
        checker.each(
            "a refusal shows no insides",
            [*during, *waited],
            lambda one: "Traceback" not in one[1] and "psycopg" not in one[1],
        ),
        lab.in_time("a refusal comes in time", (one[2] for one in during), BOUND),
        lab.in_time("who waited is not kept", (one[2] for one in waited), BOUND + WAIT),
        checker.each("afterwards requests are answered", after, lambda one: one[0] == 200),
    )
    findings.figures = {"slowest refusal s": round(max(one[2] for one in during), 1)}
    return findings


def _get(http: httpx.Client, url: str) -> Answered:
    """The status, the text, and the seconds of an answer."""
    began = time.monotonic()
    answer = http.get(url)
    return answer.status_code, answer.text, time.monotonic() - began


def _until_waited_for(lab: Lab, queue: jobq.Queue, many: int) -> None:
    from jobq.http.watch import watcher_of

    watcher = watcher_of(queue._config)
    lab.until(lambda: watcher.waiting == many, 30, f"{many} clients wait")


def _break(proxy: Proxy, *, frozen: bool) -> None:
    if frozen:
        proxy.freeze()
    else:
        proxy.refuse()
        proxy.reset()


def _mend(proxy: Proxy, *, frozen: bool) -> None:
    if frozen:
        proxy.thaw()
    else:
        proxy.accept()
