"""What must always hold, read from the tables after each step. It decides nothing for the queue."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from jobq import MOVES, Job
from jobq._clock import SECOND
from jobq._errors import BackendUnavailable, UniqueViolation
from jobq._model import FINISHED, LIVE
from jobq._outcome import POLLED
from tests.simulator.clock import BEGINNING
from tests.simulator.databases import Database, table
from tests.simulator.steps import Steps

if TYPE_CHECKING:
    from jobq._worker.running import Running
    from tests.simulator.clock import Time
    from tests.simulator.scheduler import Sent, World

Row = dict[str, Any]
COLUMNS = (
    "id",
    "type",
    "unique_key",
    "status",
    "declared",
    "ready",
    "run_at",
    "lane",
    "attempts",
    "max_attempts",
    "fence",
    "worker",
    "lease_until",
    "progress",
    "message",
    "result",
    "error_code",
    "completed_at",
)
END = ("status", "attempts", "fence", "result", "error_code", "completed_at")
FINISHES = ("finish", "finish_with_more", "finish_and_claim", "complete_and_claim")
"""The ops that are given endings."""
VERBS = {
    "claim": {"claim"},
    "claim_limited": {"claim", "refuse"},
    "finish": {"finish"},
    "finish_with_more": {"finish"},
    "finish_and_claim": {"finish", "claim"},
    "complete_and_claim": {"finish", "claim"},
    "complete": {"finish"},
    "give_back": {"finish"},
    "rescue": {"rescue"},
    "expire": {"refuse"},
    "declare_refused": {"refuse"},
    "cancel": {"cancel"},
    "retry": {"retry"},
    "reschedule": {"reschedule"},
    "set_status": {"set_status"},
}
DISOWNING = {"retry", "set_status"}
MORE_STARTS = {"waiting", "retried", "crashed", "released", "snoozed", "rate_limited", "disowned"}
PER = 10 * SECOND
AROUND = 3 * SECOND
"""How far a start may lie from the claim that has reckoned with a limit's numbers."""


class Checker:
    """Keeps what was seen, and lists what was broken."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changes = database.changes
        self.jobs: dict[str, Row] = {}
        self.broken: list[str] = []
        self.promised: set[str] = set()
        """Jobs whose enqueuers were told that they are stored."""
        self.claims: dict[tuple[str, int], int] = {}
        """How far the database's clock was off, by claim."""
        self.starts: Counter[tuple[str, int]] = Counter()
        self.polled: set[tuple[str, int]] = set()
        """Claims that only looked at what their jobs wait for: the history does not know them."""
        self._steps = Steps(database)
        self.spent: dict[tuple[str, int], tuple[int, int, int]] = {}
        """When a limited job started, by the database's clock and in truth; its units of `rate`."""
        self.by_key: dict[str, list[tuple[int, int]]] = {}
        """When jobs started with each key of the pool, by the database's clock and in truth."""
        self.daily = 0
        """How many jobs have started that count for the daily quota."""
        self.quota: int | None = 2
        self.rates: list[tuple[int, int]] = [(0, 3)]
        """The numbers of `rate`, and since when by the monotonic clock."""
        self.leases: dict[tuple[str, int], int] = {}
        """When the lease of a claim ends, by the monotonic clock."""
        self.known_lost: set[tuple[str, int]] = set()
        """Claims whose workers were told at a renewal that they have lost them."""
        self.by_hand: Counter[str] = Counter()
        """How often an ended job was begun anew."""
        self._latest = 0
        """The furthest that the database's clock has been."""
        self.refused_writes = self.rescues = self.late = 0

    def must(self, condition: object, promise: str, *facts: object) -> None:
        if not condition:
            self.broken.append(": ".join([promise, *map(str, facts)]))

    def acknowledged(self, verb: str, answer: Any) -> None:
        """A caller was told that its call was done."""
        if verb == "enqueue" and isinstance(answer, Job):
            self.promised.add(answer.id)

    # --- after each step ------------------------------------------------------------------------

    def stepped(self, sent: Sent, result: Any, error: BaseException | None, *, late: bool) -> None:
        """One op came to its end, or as far as it goes before the connection was lost."""
        op = sent.op.__name__
        self.late += late
        self._check_error(sent, error, late=late)
        before = self.jobs
        if self._database.changes != self._changes:
            self._check_changes(sent, error)
        if error is None and op in FINISHES:
            self._check_answer(sent, result, before)

    def _check_changes(self, sent: Sent, error: BaseException | None) -> None:
        op = sent.op.__name__
        self._changes = self._database.changes
        time = sent.process.world.time
        self._latest = max(self._latest, time.database)
        before, self.jobs = (
            self.jobs,
            {r["id"]: r for r in table(self._database, "jobq_job", *COLUMNS)},
        )
        self.must(before.keys() <= self.jobs.keys(), "no job is lost", op)
        for id, job in self.jobs.items():
            if id not in before:
                self.must(op == "insert", "jobs come from enqueuers alone", op, job)
            elif job != before[id]:
                self._check_change(sent, before[id], job, time.database)
                leases = [(row["lease_until"], row["fence"]) for row in (before[id], job)]
                if job["lease_until"] is not None and leases[0] != leases[1]:
                    rest = job["lease_until"] - time.database
                    self.leases[id, job["fence"]] = time.elapsed + rest
                if self._is_claim(before[id], job):
                    self.claims[id, job["fence"]] = time.offset
        if op == "set_limit" and error is None and sent.kwargs["key"] == "rate":
            self.rates.append((time.elapsed, json.loads(sent.kwargs["spec"])["n"]))
        if op == "set_limit" and sent.kwargs["key"] == "daily":
            self.quota = None
        self._check_keys(op)
        for promise, *facts in self._steps.changed(sent, self.jobs):
            self.must(False, promise, *facts)
        self._check_places(op, before, time.database)

    def _check_error(self, sent: Sent, error: BaseException | None, *, late: bool) -> None:
        op = sent.op.__name__
        if isinstance(error, UniqueViolation):
            # A job that took the key between the two; or a statement that is late, for nobody.
            is_told = op == "retry" or (op == "insert" and late)
            self.must(is_told, "a key in use is no error", op, repr(error))
        elif error is not None and not isinstance(error, BackendUnavailable):
            self.broken.append(f"no op provokes an error of the database: {op}: {error!r}")

    def _is_claim(self, before: Row, after: Row) -> bool:
        return bool(after["status"] == "processing" and after["fence"] != before["fence"])

    def _check_change(self, sent: Sent, before: Row, after: Row, now: int) -> None:
        op = sent.op.__name__
        verbs = VERBS.get(op, set())
        seen = (op, before, after)
        moved = before["status"] != after["status"] or before["fence"] != after["fence"]
        if moved:
            allowed = after["status"] in _reachable(before["status"], verbs)
            self.must(allowed, "states move as the table of moves says", *seen)
        self.by_hand[after["id"]] += before["status"] in FINISHED and moved
        if before["status"] in FINISHED and "retry" not in verbs:
            same = all(before[name] == after[name] for name in END)
            self.must(same, "what has ended stays as it is", *seen)
        if before["status"] == "processing" and moved:
            self._check_end(sent, before, now, seen)
        if self._is_claim(before, after):
            self._check_claim(sent, before, after)
        elif before["status"] == after["status"] == "processing":
            mine = (after["id"], after["fence"]) in _named(sent)
            kept = before["lease_until"] == after["lease_until"] or (op == "renew" and mine)
            self.must(kept, "only its holder renews a lease", *seen)
            noted = all(before[name] == after[name] for name in ("progress", "message"))
            self.must(noted or (op == "progress" and mine), "only its holder reports", *seen)
        if not self._is_claim(before, after):
            self._check_attempts(sent, before, after, verbs)

    def _check_end(self, sent: Sent, before: Row, now: int, seen: tuple[Any, ...]) -> None:
        op = sent.op.__name__
        if op == "rescue":
            self.rescues += 1
            self.must(before["lease_until"] < now, "none is rescued before its lease ends", *seen)
        elif op == "give_back":
            self.must(sent.args[0] == before["worker"], "a worker gives back its own", *seen)
        elif op not in DISOWNING:
            held = (before["id"], before["fence"]) in _named(sent)
            self.must(held, "a write with an old fence changes nothing", *seen)

    def _check_claim(self, sent: Sent, before: Row, after: Row) -> None:
        seen = (sent.op.__name__, before, after)
        self.must(before["declared"], "an undeclared job is never started", *seen)
        self.must((after["id"], after["fence"]) not in self.claims, "a fence is new", *seen)
        if before["status"] != "processing":
            honest = after["attempts"] == before["attempts"] + 1
            self.must(honest, "a claim counts one attempt", *seen)
            self.must(before["run_at"] <= self._latest, "no job is started before its time", *seen)
        limit = after["max_attempts"] or 3
        self.must(1 <= after["attempts"] <= limit, "attempts stay within their bound", *seen)

    def _check_attempts(self, sent: Sent, before: Row, after: Row, verbs: set[str]) -> None:
        expected = before["attempts"]
        if "retry" in verbs:
            expected = 0
        elif sent.op.__name__ == "give_back":
            expected -= 1
        elif "finish" in verbs and before["status"] != after["status"]:
            given = {e.id: e.transition.given_back for e in _endings(sent)}
            expected -= given.get(before["id"], 0)
        honest = after["attempts"] == expected
        self.must(honest, "attempts are given back as decided", sent.op.__name__, before, after)

    def _check_answer(self, sent: Sent, result: Any, before: dict[str, Row]) -> None:
        done = result[0] if isinstance(result, tuple) else result
        rows = table(self._database, "jobq_attempt", "job_id", "fence", "outcome")
        recorded = {(r["job_id"], r["fence"]): r["outcome"] for r in rows}
        for ending in _endings(sent):
            if ending.transition.outcome == POLLED:
                self.polled.add((ending.id, ending.fence))
            elif ending.id in done:
                outcome = recorded.get((ending.id, ending.fence))
                same = outcome == ending.transition.outcome
                self.must(same, "an accepted outcome is in the history", ending, outcome)
            else:
                self.refused_writes += 1
                job = before[ending.id]
                held = job["fence"] == ending.fence and job["status"] == "processing"
                self.must(not held, "a valid outcome is accepted", ending, job)
                stored = recorded.get((ending.id, ending.fence)) == ending.transition.outcome
                known = not (stored and sent.kwargs.get("again"))
                self.must(known, "what is sent again is known", ending)

    def _check_keys(self, op: str) -> None:
        keys = Counter(
            (job["type"], job["unique_key"])
            for job in self.jobs.values()
            if job["unique_key"] is not None and job["status"] in LIVE
        )
        self.must(max(keys.values(), default=0) <= 1, "a unique key has one live job", op, keys)

    def _check_places(self, op: str, before: dict[str, Row], now: int) -> None:
        held, was_held = _holders(self.jobs, now), _holders(before, now)
        if held <= was_held or held <= 1:
            return
        rows = table(self._database, "jobq_limit", "key", "spec")
        places = next(
            (json.loads(r["spec"])["n"] for r in rows if r["key"] == "places" and r["spec"]), 1
        )
        self.must(held <= places, "no more hold places than there are", op, held, places)

    def answered(self, sent: Sent, result: Any) -> None:
        """A process was told what has come of its op."""
        if sent.op.__name__ == "renew":
            fences = dict(sent.args[0])
            self.known_lost |= {(r.id, fences[r.id]) for r in result if not r.held}

    def holds(self, running: Running, time: Time) -> None:
        """A handler is running, in a process that is awake."""
        key = _key(running)
        if running.finishing or running.committed is not None or running.stopping == "lease":
            return
        is_valid = time.elapsed <= self.leases[key]
        self.must(is_valid, "a handler stops before its lease ends", running.job)
        self.must(key not in self.known_lost, "a handler stops when its job is lost", running.job)

    # --- what handlers tell ---------------------------------------------------------------------

    def started(self, running: Running, world: World) -> None:
        """A handler has begun."""
        id, fence = running.job.id, running.job.fence
        self.starts[id, fence] += 1
        self.must(self.starts[id, fence] == 1, "a claim starts once", running.job)
        self.must((id, fence) in self.claims, "what starts was claimed", running.job)
        expires_at = running.job.expires_at
        in_time = expires_at is None or running.job.started_at < expires_at
        self.must(in_time, "no job is started that has expired", running.job)
        self.daily += running.job.type == "daily" and not running.resumed
        free = not running.resumed or running.debits.keys() <= {"places"}
        self.must(free, "the way back from waiting debits nothing", running.job, running.debits)
        within = self.quota is None or self.daily <= self.quota
        self.must(within, "no day holds more than its quota", self.daily)
        moment = world.time.elapsed + self.claims.get((id, fence), 0)
        if running.start is not None:
            punctual = moment <= running.start.permit.good_until - BEGINNING
            self.must(punctual, "no start is later than its permit allows", running.start)
        units = 0 if running.start is None else running.start.permit.debits.get("rate", 0)
        if units:
            self.spent[id, fence] = (moment, world.time.elapsed, units)
            self._check_rate(moment, world.time.elapsed)

    def given(self, running: Running, secret: str, world: World) -> None:
        """A handler asked for the key that it may use."""
        name = running.chosen["keys"]
        self.must(secret == f"secret of {name}", "a job uses the key that it was granted", name)
        if running.resumed:
            return
        now, truly = world.time.elapsed + self.claims[_key(running)], world.time.elapsed
        near = [
            at
            for at, then in self.by_key.setdefault(name, [])
            if now - PER < at <= now and truly - PER < then
        ]
        self.must(not near, "no window holds more than a key's limit", name, now, near)
        self.by_key[name].append((now, truly))

    def settled(self, running: Running, units: int) -> None:
        """A handler has told what its job did cost: less."""
        key = _key(running)
        moment, elapsed, _ = self.spent[key]
        self.spent[key] = (moment, elapsed, units)

    def _check_rate(self, moment: int, elapsed: int) -> None:
        # A clock that was set lets its hours come twice: starts in two of them are far apart.
        used = [
            units
            for at, truly, units in self.spent.values()
            if moment - PER < at <= moment and truly > elapsed - PER
        ]
        changes = zip(self.rates, self.rates[1:], strict=False)
        recent = [n for (_, n), (ended, _) in changes if ended > elapsed - PER - AROUND]
        allowed = sum(recent) + self.rates[-1][1]
        self.must(sum(used) <= allowed, "no window holds more than its limit", used, allowed)

    # --- at the end -----------------------------------------------------------------------------

    def ended(self, stranger: str) -> None:
        """All faults have stopped, and the workers had time."""
        self.must(self.promised <= self.jobs.keys(), "no job is lost", self.promised)
        more: Counter[str] = Counter()
        recorded: set[tuple[str, int]] = set()
        for row in table(self._database, "jobq_attempt", "job_id", "fence", "outcome"):
            more[row["job_id"]] += row["outcome"] in MORE_STARTS
            recorded.add((row["job_id"], row["fence"]))
        for id, _ in self.polled:
            more[id] += 1
        missing = set(self.claims) - recorded - self.polled
        self.must(not missing, "each claim has its end in the history", missing)
        self.must(recorded <= set(self.claims), "the history is of claims", recorded)
        starts: Counter[str] = Counter()
        for (id, _), count in self.starts.items():
            starts[id] += count
        for id, job in self.jobs.items():
            if job["type"] == stranger:
                self.must(starts[id] == 0, "an unknown type is never started", job)
                continue
            self.must(job["status"] in FINISHED, "no job is stuck", job)
            allowed = 1 + more[id] + self.by_hand[id]
            self.must(starts[id] <= allowed, "each start has its reason", job, starts[id])


def _reachable(status: str, verbs: set[str]) -> set[str]:
    """Where one move, or an end and then a claim, may lead."""
    found = {status}
    for verb in (
        sorted(verbs, key=["finish", "claim"].index) if verbs == {"finish", "claim"} else verbs
    ):
        move = MOVES[verb]
        if set(move.sources) & found:
            found |= set(map(str, move.targets))
    if status == "processing" and "cancel" in verbs:
        return {status}
    return found


def _endings(sent: Sent) -> list[Any]:
    return list(sent.args[0]) if sent.op.__name__ in FINISHES else []


def _key(running: Running) -> tuple[str, int]:
    return (running.job.id, running.job.fence)


def _named(sent: Sent) -> set[tuple[str, int]]:
    """The claims that an op was given."""
    match sent.op.__name__:
        case op if op in FINISHES:
            return {(ending.id, ending.fence) for ending in sent.args[0]}
        case "complete":
            return {(sent.kwargs["id"], sent.kwargs["fence"])}
        case "renew":
            return set(sent.args[0])
        case "progress":
            return {(row["id"], row["fence"]) for row in sent.args[0]}
    return set()


def _holders(jobs: dict[str, Row], now: int) -> int:
    """How many jobs with a valid lease need a place."""
    return sum(
        job["status"] == "processing"
        and "places" in (job["lane"] or "")
        and job["lease_until"] > now
        for job in jobs.values()
    )
