"""Who holds a job, and whose outcome counts."""

from __future__ import annotations

from tests.mutants.catalogue.mutant import Mutant
from tests.mutants.catalogue.names import (
    BLOCKED,
    FENCES,
    OUTCOMES,
    READ,
    SEEDS,
    SELF_FENCE,
    SHUT_OUT,
    TRANSACTIONS,
    ZOMBIE,
)

MUTANTS = (
    Mutant(
        name="fence",
        promise="a late write of a claim that was lost is refused",
        file="backends/ops/_moves.py",
        old='return and_(d.one_by_one(j.id, d.id(c.id)), j.fence == c.fence, may(d, "finish"))',
        new='return and_(d.one_by_one(j.id, d.id(c.id)), may(d, "finish"))',
        tests=(f"{FENCES}::test_every_late_write_of_a_lost_claim_is_refused",),
        faults=(ZOMBIE,),
    ),
    Mutant(
        name="status-check",
        promise="what has ended stays as it is, whoever still holds its fence",
        file="backends/ops/_moves.py",
        old='return and_(d.one_by_one(j.id, d.id(c.id)), j.fence == c.fence, may(d, "finish"))',
        new="return and_(d.one_by_one(j.id, d.id(c.id)), j.fence == c.fence)",
        tests=(f"{FENCES}::test_every_late_write_of_a_lost_claim_is_refused", SEEDS),
    ),
    Mutant(
        name="fence-of-verbs",
        promise="a verb that takes a running job from its worker draws another fence",
        file="backends/ops/control.py",
        old='"run_at": d.now(),\n        "fence": d.fence(),',
        new='"run_at": d.now(),',
        tests=(f"{FENCES}::test_a_verb_that_disowns_a_running_attempt_draws_another_fence",),
    ),
    Mutant(
        name="completion-refused",
        promise="a handler whose job is lost is told so, and its own rows roll back",
        file="_context.py",
        old="        if not accepted:\n            raise LeaseLost(self.id)\n",
        new="",
        tests=(f"{TRANSACTIONS}::test_a_lost_job_takes_the_rows_of_its_handler_along",),
        faults=(ZOMBIE,),
    ),
    Mutant(
        name="zombie-told",
        promise="the handler of a job that another worker has is cancelled",
        file="_worker/lease.py",
        old="                self._in_loop(self._lost, running)\n                continue",
        new="                continue",
        tests=(
            f"{FENCES}::test_the_handler_of_a_job_that_was_lost_is_stopped_at_the_next_heartbeat",
            SEEDS,
        ),
    ),
    Mutant(
        name="self-fence",
        promise="a worker that cannot renew its leases stops its handlers before these end",
        file="_worker/lease.py",
        old='if running.renewed_at < latest and running.stopping != "lease":',
        new="if False:",
        tests=(SEEDS, SHUT_OUT),
        faults=(SELF_FENCE,),
    ),
    Mutant(
        name="late-claim",
        promise="a worker whose claim was answered late does not start what it may have lost",
        file="_worker/running.py",
        old="self.renewed_at = self.started_at if claimed_at is None else claimed_at",
        new="self.renewed_at = self.started_at",
        tests=(
            f"{FENCES}::test_a_job_whose_claim_was_answered_too_late_is_given_back_and_not_begun",
        ),
    ),
    Mutant(
        name="renewal",
        promise="a running job keeps its lease however long it takes",
        file="_worker/lease.py",
        old="        if not held:\n            return\n        asked_at",
        new="        if held is not None:\n            return\n        asked_at",
        tests=(f"{OUTCOMES}::test_a_running_async_job_is_cancelled_within_a_heartbeat",),
        faults=(BLOCKED,),
    ),
    Mutant(
        name="renewal-skips-locked",
        promise="a job whose row its handler's transaction holds keeps no other lease waiting",
        file="backends/ops/keep.py",
        old=(
            "must not wait for it.\n"
            "    free = d.skip_locked(select(j.id).join(mine, held(d, mine)), t.job)"
        ),
        new="must not wait for it.\n    free = select(j.id).join(mine, held(d, mine))",
        tests=(f"{FENCES}::test_renewals_skip_a_row_that_a_handlers_transaction_holds",),
    ),
    Mutant(
        name="ownership-of-workers",
        promise="a worker that leaves gives back its own jobs and nobody else's",
        file="backends/ops/keep.py",
        old='lost = and_(j.status == word("processing"), j.worker == param("worker"))',
        new='lost = and_(j.status == word("processing"), param("worker").is_not(None))',
        tests=(f"{FENCES}::test_a_worker_that_leaves_gives_back_its_own_jobs_only",),
    ),
    Mutant(
        name="ownership-of-jobs",
        promise="who asks for an owner's jobs sees those of no one else",
        file="backends/ops/read.py",
        old='names = ("type", "queue", "owner", "batch_id")',
        new='names = ("type", "queue", "batch_id")',
        tests=(f"{READ}::test_filters_select_exactly_the_jobs_that_fit",),
    ),
)
