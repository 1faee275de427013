"""Schedules."""

from __future__ import annotations

from tests.mutants.catalogue.mutant import Mutant
from tests.mutants.catalogue.names import PASSED_OVER, SCHEDULES

MUTANTS = (
    Mutant(
        name="tick-record",
        promise="a tick becomes one job, also where the clock went back over it",
        file="backends/ops/schedules.py",
        old=" if (name, at) in recorded}",
        new="}",
        tests=(
            f"{SCHEDULES}::test_a_tick_that_is_recorded_makes_no_job_whatever_the_schedule_says",
        ),
    ),
    Mutant(
        name="schedules-take-turns",
        promise="a process declares its schedules once, so versions of the code do not take turns",
        file="_worker/ticker.py",
        old="change=first)",
        new="change=True)",
        tests=(
            f"{SCHEDULES}::test_the_version_that_started_last_says_when_to_tick_and_all_act_by_it",
        ),
    ),
    Mutant(
        name="overlap",
        promise="without overlap a tick is passed over while the job of an earlier one goes on",
        file="backends/ops/schedules.py",
        old="        is_busy = plan.schedule.unique_key in busy\n",
        new="        is_busy = False\n",
        tests=(PASSED_OVER,),
    ),
)
