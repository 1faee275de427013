"""The HTTP API, its drive endpoint, and Django's adapter."""

from __future__ import annotations

from tests.mutants.catalogue.mutant import Mutant

ACCESS, CREATE = "contract/test_access.py", "contract/test_create.py"
DRIVE, EVENTS = "contract/test_drive.py", "contract/test_events.py"
MOVES, SHOW = "contract/test_moves.py", "contract/test_show.py"
DECISIONS = "unit/test_http.py"
ATTEMPTS, SITE = "django/test_attempts.py", "django/test_http.py"

MUTANTS = (
    Mutant(
        name="deny",
        promise="where nobody said who may use the routes, nobody may",
        file="http/api.py",
        old="return Deny() if options.owner is None else",
        new='return Owner(lambda _: "anybody") if options.owner is None else',
        tests=(f"{ACCESS}::test_without_a_policy_nobody_may_do_anything",),
    ),
    Mutant(
        name="anothers-job",
        promise="another owner's job is neither shown nor moved",
        file="http/access.py",
        old="if self.owner is None or found.owner == self.owner:",
        new="if self.owner is None or found.owner is not None:",
        tests=(
            f"{SHOW}::test_anothers_job_is_forbidden",
            f"{MOVES}::test_nobody_moves_anothers_job",
        ),
    ),
    Mutant(
        name="anothers-list",
        promise="a list has the caller's jobs only",
        file="http/operations.py",
        old='        where["owner"] = scope.owner\n',
        new="        pass\n",
        tests=(f"{SHOW}::test_a_list_has_the_callers_jobs_newest_first",),
    ),
    Mutant(
        name="constant-time",
        promise="every candidate key is compared, in constant time",
        file="http/keys.py",
        old="found |= compare_digest(wanted, key.encode())",
        new="found = found or wanted == key.encode()",
        tests=(f"{DECISIONS}::test_every_candidate_is_compared_in_constant_time",),
    ),
    Mutant(
        name="known-secret",
        promise="a secret that stands in a document opens nothing outside of development",
        file="http/keys.py",
        old="len(key) >= SHORTEST and key not in KNOWN_TO_ALL",
        new="len(key) >= SHORTEST",
        tests=(f"{DECISIONS}::test_a_weak_key_is_refused_outside_of_development",),
    ),
    Mutant(
        name="idempotency-conflict",
        promise="an idempotency key that is used again for another request is a conflict",
        file="backends/ops/insert.py",
        old="if terms.idempotency_hash != stored[len(JOB)]:",
        new="if False:",
        tests=(f"{CREATE}::test_a_key_with_another_request_is_a_conflict",),
    ),
    Mutant(
        name="idempotency-owner",
        promise="an idempotency key belongs to its owner, and to no other",
        file="http/operations.py",
        old="owner=scope.owner or owner,\n        idempotency_key=",
        new="owner=owner,\n        idempotency_key=",
        tests=(f"{CREATE}::test_another_owners_key_is_his_own",),
    ),
    Mutant(
        name="etag",
        promise="a job's entity tag is its version",
        file="http/polling.py",
        old="""return f'W/"{job.version}"'""",
        new="""return f'W/"{job.attempts}"'""",
        tests=(f"{SHOW}::test_what_the_client_has_already_is_not_sent_again",),
    ),
    Mutant(
        name="last-event",
        promise="a browser that comes back to a stream is told the state only if it is another",
        file="http/events.py",
        old="if seen != str(job.version) or job.status.finished:",
        new="if job.version:",
        tests=(f"{EVENTS}::test_who_knows_the_current_state_is_not_told_it_again",),
    ),
    Mutant(
        name="drive-overrun",
        promise="a job that never fits into the budget fails, and says so",
        file="_worker/bounded.py",
        old='await slots.close(left, "shutdown" if self._at_once else "budget")',
        new='await slots.close(left, "shutdown")',
        tests=(f"{DRIVE}::test_a_job_that_never_fits_fails_with_advice",),
    ),
    Mutant(
        name="drive-give-back",
        promise="a call comes back within its budget, and gives back what cannot finish",
        file="http/drive.py",
        old="seconds=budget.seconds - budget.reserve - spent,",
        new="seconds=25.0,",
        tests=(f"{DRIVE}::test_what_cannot_finish_is_given_back_within_the_budget",),
    ),
    Mutant(
        name="drive-lease",
        promise="a lease of a call ends soon after its budget, so that a killed call costs little",
        file="_worker/bounded.py",
        old="return max(1.0, min(self._lease, left))",
        new="return max(1.0, self._lease + 0 * left)",
        tests=(f"{DECISIONS}::test_a_lease_that_begins_late_in_a_call_ends_no_later_than_others",),
    ),
    Mutant(
        name="drive-upkeep",
        promise="a call first rescues what a dead process left, and then runs jobs",
        file="http/drive.py",
        old="        await _upkeep(watched)\n",
        new="",
        tests=(f"{DRIVE}::test_a_call_takes_over_before_it_runs_anything",),
    ),
    Mutant(
        name="django-forgery",
        promise="whoever is known by a cookie sends Django's token along",
        file="contrib/django/http.py",
        old="            if guarded and _is_known_by_cookie(request):",
        new="            if False:",
        tests=(f"{SITE}::test_whoever_is_known_by_a_cookie_sends_djangos_token_along",),
    ),
    Mutant(
        name="django-own-thread",
        promise="each asynchronous attempt has a thread and connections of its own for the ORM",
        file="contrib/django/_worker.py",
        old="        async with ThreadSensitiveContext():\n            try:",
        new="        if ThreadSensitiveContext:\n            try:",
        tests=(f"{ATTEMPTS}::test_two_batches_at_a_time_have_a_connection_each",),
    ),
)
