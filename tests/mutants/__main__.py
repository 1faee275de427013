"""Try the mutants and print who killed each: `python -m tests.mutants fence claim-lock quick`.

Words: names of mutants; `quick` to be content with the first suite that kills one. The exit code
is 1 where a mutant lives, could not be judged, or no longer fits the source, and where a test
that killed one fails on the unchanged source, too.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from attrs import frozen

from jobq.testing._postgres import URL_VARIABLE, PostgresServer
from tests.mutants.catalogue import MUTANTS, Mutant, Rotten
from tests.mutants.trial import Bench, Trial, Unjudged, failing_unchanged, judge

AT_ONCE = 2


@frozen
class Plan:
    """What a command line asks for."""

    mutants: tuple[Mutant, ...]
    quick: bool

    @classmethod
    def parse(cls, words: Sequence[str]) -> Plan:
        known = {"quick", *(mutant.name for mutant in MUTANTS)}
        if unknown := [word for word in words if word not in known]:
            sys.exit(f"unknown: {', '.join(unknown)}\nknown: {', '.join(sorted(known))}")
        chosen = tuple(mutant for mutant in MUTANTS if mutant.name in words)
        return cls(mutants=chosen or MUTANTS, quick="quick" in words)


def run(plan: Plan) -> int:
    """Try all mutants of a plan, two at a time; the exit code."""
    began = time.monotonic()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="jobq-mutants-"))
        bench = Bench(Path(folder), {URL_VARIABLE: _postgres_url(stack)})
        stack.callback(bench.close)
        if not _all_fit(plan.mutants, bench):
            return 1
        trials = _try_all(plan, bench)
        killers = sorted({killer for trial in trials for killer in trial.killers})
        print(f"\nthe {len(killers)} tests that killed, without a mutant:", flush=True)
        failing = failing_unchanged(bench, killers)
        print(f"  FAILED {failing}" if failing else "  all pass")
    alive = [trial.mutant.name for trial in trials if trial.lives]
    seconds = time.monotonic() - began
    print(f"\n{len(trials)} mutants, {len(trials) - len(alive)} killed, in {seconds:.0f} s")
    if alive:
        print(f"ALIVE: {', '.join(alive)}")
    return 1 if alive or failing or any(trial.unjudged for trial in trials) else 0


def _postgres_url(stack: ExitStack) -> str:
    """One server for all: each run of tests makes a database of its own on it."""
    if existing := os.environ.get(URL_VARIABLE):
        return existing
    return stack.enter_context(PostgresServer.start(max_connections=300)).superuser_url


def _all_fit(mutants: Sequence[Mutant], bench: Bench) -> bool:
    rotten = []
    for mutant in mutants:
        try:
            mutant.patched(bench.source(mutant.file))
        except Rotten as error:
            rotten.append(str(error))
    for reason in rotten:
        print(f"ROTTEN: {reason}")
    return not rotten


def _try_all(plan: Plan, bench: Bench) -> list[Trial]:
    trials = [Trial(mutant) for mutant in plan.mutants]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            work = partial(_try, bench=bench, quick=plan.quick)
            for done in as_completed(pool.submit(work, trial) for trial in trials):
                _show(done.result())
        except BaseException:
            bench.close()
            raise
    return trials


def _try(trial: Trial, bench: Bench, *, quick: bool) -> Trial:
    began = time.monotonic()
    try:
        judge(trial, bench, quick=quick)
    except Unjudged as error:
        trial.unjudged = str(error)
    trial.seconds = time.monotonic() - began
    return trial


def _show(trial: Trial) -> None:
    state = "ALIVE" if trial.lives else "killed"
    print(f"\n{trial.mutant.name}: {state}, {trial.seconds:.0f} s ({trial.mutant.promise})")
    for verdict in trial.verdicts:
        print(f"  {verdict.suite:<10}  {verdict.killer or 'noticed nothing'}")
    if trial.unjudged:
        print(f"  NOT JUDGED: {trial.unjudged}")
    sys.stdout.flush()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no process behind
    return run(Plan.parse(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
