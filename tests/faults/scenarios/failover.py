"""The server dies, and another one takes its place."""

from __future__ import annotations

from typing import Any

from jobq.testing._postgres import PostgresServer
from tests.faults import checker, standby
from tests.faults.lab import Findings, Lab, NotHere, scenario
from tests.faults.proxy import Proxy
from tests.faults.scenarios.crashes import unfinished
from tests.faults.standby import Standby
from tests.faults.victims import Victim

LEASE = 3.0


@scenario("promoted-standby", codes=("F20",), databases=("postgresql",), full=20, quick=5, tiny=3)
def promoted_standby(lab: Lab) -> Findings:
    """A synchronous standby takes over: all that was acknowledged is there, zombies are refused."""
    with PostgresServer.start(durable=True) as primary:
        if not standby.has_programs(primary):
            raise NotHere("these programs of PostgreSQL cannot copy a server (pg_basebackup)")
        near = primary.create_database("jobs")
        with (
            Standby.of(primary, "jobs") as second,
            Lab(second.both_url, lab.folder, lab.size, primary) as both,
            Proxy(near) as proxy,
        ):
            both.until(lambda: second.is_followed(primary), 30, "the standby follows")
            return _fail_over(both, primary, second, proxy)


def _fail_over(lab: Lab, primary: PostgresServer, second: Standby, proxy: Proxy) -> Findings:
    """The workers find the new server by a URL of two hosts, or by an address that moves."""
    each = lab.choose(full=10, quick=3, tiny=2)
    options: dict[str, Any] = {"lease": LEASE, "concurrency": 2 * each}
    zombie = lab.actor(
        "worker", "zombie", kind=Victim, url=proxy.url, lease=LEASE, concurrency=each
    )
    lab.await_ready([zombie])
    held = lab.enqueue_many("tarry", [{"zombie": 600.0}] * each)
    lab.until_noted("start", each, by=zombie)
    workers = [lab.worker("by-hosts", **options), lab.worker("by-proxy", url=proxy.url, **options)]
    enqueuers = [
        lab.actor("enqueuer", f"enqueuer-{n}", url=url, seconds=0.5, gap=0.02)
        for n, url in enumerate((lab.url, proxy.url))
    ]
    lab.await_ready([*workers, *enqueuers])
    lab.until_noted("end", 5 * each)
    lab.enqueue_many("step", [{"seconds": 1.0}] * 4 * each)
    lab.until(lambda: _running(lab) >= 2 * each, 30, "jobs run")
    zombie.freeze()
    primary._end_process("immediate")
    died_at, running = lab.now(), _running(lab)
    second.promote()
    proxy.server_url = second.url("jobs")
    proxy.reset()
    standby.come_back_stale(primary)
    stale = _rows(primary)
    returned = lab.until_jobs_end_again(died_at)
    heir = lab.actor("worker", "heir", kind=Victim, **options)
    lab.until_noted("start", each, by=heir, jobs=held)
    zombie.thaw()
    lab.until_noted("lease_lost", each, by=zombie)
    ended = [lab.stop(enqueuers)]
    lab.until_finished(timeout=60)
    ended.append(lab.stop([*workers, heir, zombie]))
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    refused = {e["job"] for e in lab.histories.of("lease_lost") if e.actor == zombie.name}
    told = lab.enqueues_told()
    findings = Findings(trials=running + each, hits=running + len(refused))
    findings.check(
        *ended,
        *checker.nothing_wrong(tables, events, lab.acknowledged()),
        checker.none_in_secret(tables, lab.acknowledged(), told["unknown"]),
        checker.each("a zombie is refused", held, refused.__contains__),
        checker.each(
            "the heir's outcome stands", held, lambda j: tables.jobs[j].result == heir.name
        ),
        checker.that("nobody writes to the old server", _rows(primary) == stale),
    )
    findings.figures = {
        "jobs": len(tables.jobs),
        **told,
        "rescues": checker.rescues(tables),
        "first end after it s": round(returned, 1),
    }
    return findings


def _running(lab: Lab) -> int:
    """How many jobs of the ordinary workers have started and not ended."""
    events = lab.histories.refresh()
    return sum(len(unfinished(events, name)) for name in ("by-hosts.1", "by-proxy.1"))


def _rows(server: PostgresServer) -> list[tuple[Any, ...]]:
    return checker.query(server.url("jobs"), "SELECT id, version, fence FROM jobq_job ORDER BY id")
