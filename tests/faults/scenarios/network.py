"""A network that loses answers, stops without a word, is cut, or is slow: PostgreSQL only."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from tests.faults import checker
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.proxy import Proxy, Trap

LEASE = 4.0
PATIENCE = 1.0
ANSWER = 1.0
FAR = {"patience": PATIENCE, "statement_timeout": ANSWER}
"""How the queues beyond the network are opened."""
CONNECTING = 5.0
"""Seconds that making a connection may take besides."""
CLAIM, OUTCOME, ENQUEUE = "SET status='processing'", "SET status='completed'", "INTO jobq_job "
POSTGRES = ("postgresql",)


@scenario(
    "commit-unknown", codes=("F10",), databases=POSTGRES, in_quick=True, full=20, quick=8, tiny=4
)
def commit_unknown(lab: Lab) -> Findings:
    """Answers are lost after their commit: no job is stored twice or lost; a caller is told."""
    with Proxy(lab.url) as proxy:
        worker = lab.worker(url=proxy.url, lease=LEASE, queue=FAR)
        enqueuer = lab.actor("enqueuer", url=proxy.url, seconds=0.02, gap=0.02, queue=FAR)
        lab.await_ready([worker, enqueuer])
        lab.until_noted("end", 5)
        traps: list[Trap] = []
        for number in range(lab.choose(full=8, quick=2, tiny=1)):
            for text in (ENQUEUE, OUTCOME, CLAIM):
                traps.append(proxy.drop_reply(text))
                lab.until(traps[-1].happened.is_set, 30, f"an answer to {text} is dropped")
            # Now nobody is there to be asked whether the job was stored.
            traps.append(proxy.drop_reply(ENQUEUE, then_refuse=True))
            lab.until_noted("unknown", number + 1)
            proxy.accept()
            _until_work_goes_on(lab)
        ended = [lab.stop([enqueuer])]
        lab.until_finished(timeout=60)
        ended.append(lab.stop([worker]))
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    told = lab.enqueues_told()
    findings = Findings(trials=len(traps), hits=sum(trap.caught for trap in traps))
    findings.check(
        *ended,
        *checker.nothing_wrong(tables, events, lab.acknowledged()),
        checker.none_in_secret(tables, lab.acknowledged(), told["unknown"]),
    )
    findings.figures = {
        "jobs": len(tables.jobs),
        **told,
        "found again": sum(trap.caught for trap in traps if trap.text == ENQUEUE) - told["unknown"],
        "rescues": checker.rescues(tables),
    }
    return findings


@scenario("claim-held", codes=("F3",), databases=POSTGRES, full=20, quick=3, tiny=1)
def claim_held(lab: Lab) -> Findings:
    """A worker dies between its claim and the answer: the jobs return after one lease."""
    deaths, lease = lab.choose(full=20, quick=3, tiny=1), 2.0
    waits: list[float] = []
    with Proxy(lab.url) as proxy:
        for _ in range(deaths):
            trap = proxy.hold_reply(CLAIM)
            doomed = lab.worker("doomed", url=proxy.url, lease=lease)
            lab.await_ready([doomed])
            lab.enqueue_many("step", [{}] * 3)
            lab.until(trap.happened.is_set, 30, "the answer to a claim is held")
            doomed.kill()
            killed_at = lab.now()
            [heir] = lab.workers(1, lease=lease)
            lab.until_finished(timeout=60)
            waits.append(lab.now() - killed_at)
            lab.stop([heir])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    crashed = [job for job in tables.jobs.values() if job.crash_count]
    findings = Findings(trials=deaths, hits=len(crashed))
    findings.check(
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.started_once(tables, events),
        checker.each(
            "a lost claim counts once", crashed, lambda j: (j.attempts, j.crash_count) == (2, 1)
        ),
        lab.in_time("a job returns within its lease and 3 s", waits, lease + 3.0),
    )
    findings.figures = {"slowest return s": round(max(waits), 1)}
    return findings


@scenario("half-open", codes=("F11",), databases=POSTGRES, in_quick=True, full=20, quick=5, tiny=5)
def half_open(lab: Lab) -> Findings:
    """Connections freeze without a word: each call returns in time, and work goes on after."""
    rounds = lab.choose(full=4, quick=1, tiny=1)
    frozen_for = lab.choose(full=12.0, quick=2.5, tiny=1.5)
    hits = 0
    thaws: list[float] = []
    with Proxy(lab.url) as proxy, Proxy(lab.url) as other:
        worker = lab.worker(url=proxy.url, lease=LEASE, queue=FAR)
        enqueuer = lab.actor("enqueuer", url=other.url, seconds=0.1, gap=0.05, queue=FAR)
        lab.await_ready([worker, enqueuer])
        for _ in range(rounds):
            for one, name in (
                (proxy, "jobq"),
                (proxy, "jobq leases"),
                (proxy, "jobq outcomes"),
                (proxy, "jobq listen"),
                (other, "jobq"),
            ):
                _until_work_goes_on(lab)
                before = one.held
                one.freeze(name)
                time.sleep(frozen_for)
                if name == "jobq listen":  # nothing is said there but a ping twice a minute
                    hits += name in one.names()
                else:
                    hits += one.held > before
                one.thaw()
                thaws.append(_until_work_goes_on(lab))
        ended = [lab.stop([enqueuer])]
        lab.until_finished(timeout=60)
        ended.append(lab.stop([worker]))
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    calls = [event["seconds"] for event in lab.histories.of("long_call", "beat")]
    findings = Findings(trials=rounds * 5, hits=hits)
    findings.check(
        *ended,
        lab.in_time("a call returns within its bound", calls, PATIENCE + ANSWER + CONNECTING),
        *checker.nothing_wrong(tables, events, lab.acknowledged()),
    )
    findings.figures = {
        "jobs": len(tables.jobs),
        "longest call s": round(max(calls), 2),
        "slowest return s": round(max(thaws), 1),
        "rescues": checker.rescues(tables),
    }
    return findings


@scenario("network-cut", codes=("F12",), databases=POSTGRES, full=20, quick=6, tiny=3)
def network_cut(lab: Lab) -> Findings:
    """Cut off for less than a lease, handlers go on; for longer, they stop before it ends."""
    jobs = lab.choose(full=10, quick=3, tiny=2)
    cuts = lab.choose(full=3, quick=2, tiny=1)
    hits = 0
    notices: list[float] = []
    short_told = []
    with Proxy(lab.url) as proxy:
        worker = lab.worker("cut-off", url=proxy.url, lease=LEASE, concurrency=2 * jobs, queue=FAR)
        lab.await_ready([worker])
        for silently in [True, False, True][:cuts]:
            begun = lab.now()
            lab.enqueue_many("step", [{"seconds": 600.0, "again": 0.0}] * jobs)
            lab.until(partial(_happens, lab, "start", jobs, begun), 30, "jobs start")
            time.sleep(LEASE / 3)
            short = lab.now()
            _cut(proxy, silently)
            time.sleep(LEASE / 4)
            _mend(proxy)
            _until_renewed(lab)
            short_told.append(_count(lab, "told", short))
            hits += jobs
            _cut(proxy, silently)
            cut_at = lab.now()
            lab.until(partial(_happens, lab, "told", jobs, cut_at), 4 * LEASE, "told")
            renewed = max(at for at in lab.renewals() if at < cut_at)
            told = [event for event in lab.histories.of("told") if event.at > cut_at]
            notices += [LEASE - (event.at - renewed) for event in told]
            hits += len(told)
            [heir] = lab.workers(1, lease=LEASE)
            lab.until_finished(timeout=60)
            lab.stop([heir])
            _mend(proxy)
        [again] = lab.enqueue_many("step", [{}])
        lab.until_finished(timeout=60)
        ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings = Findings(trials=2 * cuts * jobs, hits=hits)
    findings.check(
        ended,
        checker.each("a short cut stops nobody", short_told, lambda told: not told),
        lab.in_time("a handler is told before its lease ends", [-n for n in notices], 0.0),
        checker.all_completed(tables),
        checker.starts_bounded(tables, events),
        checker.that("the worker works on", tables.jobs[again].result == worker.name),
    )
    findings.figures = {
        "shortest notice s": round(min(notices), 2),
        "rescues": checker.rescues(tables),
    }
    return findings


@scenario("slow-network", codes=("F13",), databases=POSTGRES, full=9, quick=5, tiny=2)
def slow_network(lab: Lab) -> Findings:
    """200 ms each way, then 20 kB a second: renewals come in time, no job is rescued."""
    count = lab.choose(full=60, quick=20, tiny=4)
    lease = 6.0
    with Proxy(lab.url, delay=0.2) as proxy:
        worker = lab.worker(url=proxy.url, lease=lease, concurrency=count)
        lab.await_ready([worker])
        delayed = lab.enqueue_many("step", [{"seconds": 1.5 * lease}] * count)
        lab.until_finished(timeout=60)
        proxy.delay, proxy.rate = 0.0, 20_000.0
        throttled = lab.enqueue_many("step", [{"seconds": 1.5 * lease}] * count)
        lab.until_finished(timeout=60)
        ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    beats = lab.histories.of("beat", where=lambda e: e["op"] == "renew")
    findings = Findings(trials=len(delayed + throttled), hits=len(beats))
    findings.check(
        ended,
        checker.each("a renewal succeeds", beats, lambda event: event["well"]),
        checker.all_completed(tables),
        checker.started_once(tables, events),
        checker.that("no job is rescued", not checker.rescues(tables), checker.rescues(tables)),
    )
    findings.figures = {"slowest renewal s": round(max(e["seconds"] for e in beats), 2)}
    return findings


@scenario("notify", codes=("F25",), databases=POSTGRES, full=20, quick=3, tiny=2)
def notify(lab: Lab) -> Findings:
    """Hints are lost, forged, or come a thousand times: jobs run, and the database is spared."""
    polls: list[float] = []
    with Proxy(lab.url) as proxy:
        worker = lab.worker(url=proxy.url, lease=LEASE)
        lab.await_ready([worker])
        lab.enqueue_many("step", [{}])
        lab.until_finished(timeout=30)
        lost = lab.choose(full=20, quick=3, tiny=1)
        proxy.freeze("jobq listen")
        for _ in range(lost):
            time.sleep(lab.random.uniform(0.0, 0.5))
            asked = lab.now()
            lab.enqueue_many("step", [{}])
            lab.until_finished(timeout=30)
            polls.append(lab.now() - asked)
        proxy.thaw()
        quiet = _commits(lab, lambda: time.sleep(3.0))
        flood = _commits(lab, lambda: _flood(lab, seconds=3.0))
        lab.enqueue_many("step", [{}])
        lab.until_finished(timeout=30)
        ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings = Findings(trials=lost + 1, hits=lost + 1)
    findings.check(
        ended,
        checker.all_completed(tables),
        checker.started_once(tables, events),
        # Ten seconds to the next ping, and five for its answer; then a poll each second.
        lab.in_time("a lost hint costs a ping at most", polls, 20.0),
    )
    findings.figures = {
        "slowest without hints s": round(max(polls), 1),
        "transactions in 3 s, quiet": quiet,
        "and with 3000 forged hints": flood,
    }
    return findings


def _flood(lab: Lab, seconds: float) -> None:
    """Hints that nobody sent: one to every channel a second a thousand times, with odd payloads."""
    for n in range(int(seconds)):
        lab.sql(f"SELECT pg_notify('jobq', '{n}-' || i || '{{\"x') FROM generate_series(1, 1000) i")
        time.sleep(1.0)


def _commits(lab: Lab, during: Callable[[], None]) -> int:
    """The transactions that happen meanwhile. The server counts them a second late."""
    sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    [(before,)] = lab.sql(sql)
    during()
    time.sleep(1.0)
    [(after,)] = lab.sql(sql)
    return int(after - before)


def _cut(proxy: Proxy, silently: bool) -> None:
    if silently:
        proxy.freeze()
    else:
        proxy.refuse()
        proxy.reset()


def _mend(proxy: Proxy) -> None:
    proxy.accept()
    proxy.thaw()


def _count(lab: Lab, event: str, since: float) -> int:
    lab.histories.refresh()
    return len(lab.histories.of(event, where=lambda e: e.at > since))


def _happens(lab: Lab, event: str, times: int, since: float) -> bool:
    return _count(lab, event, since) >= times


def _until_renewed(lab: Lab) -> None:
    now = lab.now()
    lab.until(lambda: max(lab.renewals(), default=0.0) > now, 30, "leases are renewed again")


def _until_work_goes_on(lab: Lab) -> float:
    """Wait until a job that is enqueued from now on has ended; the seconds that took."""
    now = lab.now()

    def fresh_end() -> bool:
        events = lab.histories.refresh()
        fresh = {i for e in events if e.event == "enqueued" and e.at > now for i in e["ids"]}
        return any(e.event == "end" and e["job"] in fresh for e in events)

    lab.until(fresh_end, 60, "new jobs run")
    return lab.now() - now
