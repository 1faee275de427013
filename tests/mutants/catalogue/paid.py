"""Steps, and waiting without a slot."""

from __future__ import annotations

from tests.mutants.catalogue.mutant import Mutant
from tests.mutants.catalogue.names import STEPS, WAITING

MUTANTS = (
    Mutant(
        name="step-fence",
        promise="a step is recorded for the claim that holds the job, and for no other",
        file="backends/ops/steps.py",
        old='j.fence == param("fence", BigInteger), may(d, "finish"))',
        new='j.fence == j.fence, may(d, "finish"))',
        tests=(
            f"{STEPS}::test_one_statement_writes_a_step_for_the_claim_that_holds_the_job",
            f"{STEPS}::test_a_step_of_a_lost_claim_is_refused_and_its_handler_cancelled",
        ),
    ),
    Mutant(
        name="step-once",
        promise="what is done is not paid for again",
        file="_durable/step.py",
        old='old.status in ("started", "done"):',
        new='old.status == "started":',
        tests=(f"{STEPS}::test_a_step_that_is_done_is_not_done_again_by_a_later_attempt",),
    ),
    Mutant(
        name="step-at-the-end",
        promise="a worker that is to end begins no further call",
        file="_durable/step.py",
        old="    if run.leaving is not None:\n        raise Leaving(run.leaving)\n",
        new="",
        tests=(f"{STEPS}::test_a_worker_that_is_to_end_begins_no_further_step",),
    ),
    Mutant(
        name="way-back",
        promise="a job that returns from waiting debits no limit",
        file="_limits/lanes.py",
        old="        return Lane(self.type, tuple(wanted), kept)",
        new="        return self",
        tests=(
            f"{WAITING}::test_the_way_back_debits_no_rate_and_no_quota_and_a_retry_does",
            f"{WAITING}::test_a_closed_limit_does_not_keep_a_job_from_looking",
        ),
    ),
    Mutant(
        name="start-anew",
        promise="an attempt after a failure is a start, which is debited",
        file="backends/ops/finish.py",
        old="(counted, func.coalesce(j.start_lane, j.lane)), else_=j.lane",
        new="else_=j.lane",
        tests=(f"{WAITING}::test_the_way_back_debits_no_rate_and_no_quota_and_a_retry_does",),
    ),
    Mutant(
        name="early-event",
        promise="an event that comes as its job begins to wait is not lost",
        file="backends/ops/finish.py",
        old="        yield from wake_resumed(d, waits)\n",
        new="        pass\n",
        tests=(
            f"{WAITING}::test_an_event_between_the_last_look_and_the_waiting_makes_the_job_due",
        ),
    ),
    Mutant(
        name="cancelled-work",
        promise="a job that is cancelled while it waits cancels the work at its provider",
        file="backends/ops/control.py",
        old="    returns = can_cancel(d)\n",
        new="    returns = number(1) == number(0)\n",
        tests=(f"{WAITING}::test_a_job_that_is_cancelled_while_it_waits_cancels_the_work_once",),
    ),
)
