"""Schedules, while those who notice their ticks die, freeze, or are not there."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.faults import checker
from tests.faults.actors import Actor
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.victims import Victim

LEASE = 3.0
NEAR = 0.1
"""Seconds from a tick within which a kill counts as one at the tick."""
EVERY_SECOND = "* * * * * *"


def ticking(lab: Lab, name: str, **schedules: dict[str, Any]) -> Actor:
    """A worker with these schedules of the type `step`."""
    return lab.actor("ticking", name, kind=Victim, lease=LEASE, schedules=schedules)


def ticks_of(lab: Lab, schedule: str) -> list[int]:
    """The ticks that have become jobs, in seconds since 1970, as the jobs themselves say."""
    rows = lab.sql("SELECT CAST(metadata AS text) FROM jobq_job")
    made = [json.loads(text) for (text,) in rows]
    mine = [one["tick"] for one in made if one["schedule"] == schedule]
    return sorted(int(datetime.fromisoformat(tick).timestamp()) for tick in mine)


def one_job_a_tick(ticks: list[int]) -> checker.Check:
    counted = Counter(ticks)
    return checker.each("a tick becomes one job", counted.items(), lambda item: item[1] == 1)


def none_missing(ticks: list[int]) -> checker.Check:
    """Between the first tick and the last, each second has one."""
    return checker.each(
        "no tick is missing", pairwise(sorted(set(ticks))), lambda pair: pair[1] == pair[0] + 1
    )


@scenario("killed-at-the-tick", codes=("F23",), full=20, quick=5, tiny=2)
def killed_at_the_tick(lab: Lab) -> Findings:
    """Of three workers one is killed at each tick: every tick becomes one job all the same."""
    kills = lab.choose(full=30, quick=8, tiny=3)
    options = {"every-second": {"expression": EVERY_SECOND, "catch_up": "all"}}
    workers = [ticking(lab, f"worker-{n}", **options) for n in range(3)]
    lab.await_ready(workers)
    lab.until(lambda: ticks_of(lab, "every-second"), 30, "the first tick")
    hits = 0
    for number in range(kills):
        at = number % 3
        _sleep_to_the_tick(lab.random.uniform(0.0, 0.03))
        workers[at].kill()
        hits += time.time() % 1.0 < NEAR
        workers[at] = ticking(lab, f"worker-{at}", **options)
        lab.await_ready([workers[at]])
    last = int(time.time())
    lab.until(lambda: ticks_of(lab, "every-second")[-1] > last, 30, "ticks go on")
    lab.queue.pause_schedule("every-second")
    lab.until_finished(timeout=60)
    ended = lab.stop(workers)
    ticks = ticks_of(lab, "every-second")
    findings = Findings(trials=kills, hits=hits)
    findings.check(
        ended,
        checker.all_completed(checker.dump(lab.url)),
        one_job_a_tick(ticks),
        none_missing(ticks),
    )
    findings.figures = {"ticks": len(ticks)}
    return findings


def _sleep_to_the_tick(beyond: float) -> None:
    time.sleep(1.0 - time.time() % 1.0 + beyond)


@scenario("all-down-over-ticks", codes=("F23",), full=3, quick=3, tiny=3)
def all_down_over_ticks(lab: Lab) -> Findings:
    """While no worker is there, ticks are missed; then each schedule follows its policy."""
    minutes = [(int(time.time()) // 60 - ago) % 60 for ago in (8, 6, 4)]
    expression = f"{','.join(map(str, sorted(minutes)))} * * * *"
    policies = {"skip": 0, "one": 1, "all": 3}
    schedules = {name: {"expression": expression, "catch_up": name} for name in policies}
    first = ticking(lab, "first", **schedules)
    lab.await_ready([first])
    lab.until(lambda: len(lab.queue.schedules()) == 3, 30, "the schedules are stored")
    first.kill()
    _as_if_minutes_ago(lab, 10)
    lab.history.note("round", missed=minutes)
    heirs = [ticking(lab, f"heir-{n}", **schedules) for n in range(3)]
    lab.await_ready(heirs)
    lab.until(lambda: len(lab.queue.list().jobs) >= sum(policies.values()), 30, "they catch up")
    lab.until_finished(timeout=60)
    ended = lab.stop(heirs)
    made = {name: ticks_of(lab, name) for name in policies}
    findings = Findings(trials=3, hits=len(policies))
    findings.check(
        ended,
        *(one_job_a_tick(ticks) for ticks in made.values()),
        checker.each(
            "a policy is followed", policies.items(), lambda item: len(made[item[0]]) == item[1]
        ),
        checker.that("the newest is made up for", made["one"] == made["all"][-1:], made),
    )
    return findings


def _as_if_minutes_ago(lab: Lab, minutes: int) -> None:
    """Let the schedules have ticked last so long ago."""
    back = f"- interval '{minutes} minutes'" if lab.is_postgres else f"- {minutes * 60_000_000}"
    lab.sql(f"UPDATE jobq_schedule SET since = since {back}, next_tick = since {back}")


@scenario("frozen-over-ticks", codes=("F24",), full=20, quick=5, tiny=2)
def frozen_over_ticks(lab: Lab) -> Findings:
    """A worker that is frozen at a tick, and wakes up later, repeats none and stops none."""
    rounds = lab.choose(full=20, quick=5, tiny=2)
    options = {"every-second": {"expression": EVERY_SECOND, "catch_up": "all"}}
    workers = [ticking(lab, f"worker-{n}", **options) for n in range(3)]
    lab.await_ready(workers)
    lab.until(lambda: ticks_of(lab, "every-second"), 30, "the first tick")
    hits = 0
    for number in range(rounds):
        frozen = workers[number % 3]
        _sleep_to_the_tick(lab.random.uniform(-0.01, 0.02))
        lab.freeze(frozen)
        seen = ticks_of(lab, "every-second")[-1]
        lab.until(lambda: ticks_of(lab, "every-second")[-1] >= seen + 2, 30, "others go on")  # noqa: B023  called at once
        hits += 1
        frozen.thaw()
    lab.queue.pause_schedule("every-second")
    lab.until_finished(timeout=60)
    ended = lab.stop(workers)
    ticks = ticks_of(lab, "every-second")
    findings = Findings(trials=rounds, hits=hits)
    findings.check(ended, one_job_a_tick(ticks), none_missing(ticks))
    findings.figures = {"ticks": len(ticks)}
    return findings
