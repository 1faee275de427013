"""Artifacts, while those who save them die, and while what is left behind is swept."""

from __future__ import annotations

import hashlib
from typing import Any

import jobq
from tests.artifacts import Bucket, Folder, Place, a_bucket, s3_server
from tests.faults import checker
from tests.faults.actors import Actor
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.savers import DOOMS, Saver, storage_at

LEASE = 3.0
CONTENTS = 4
"""So few that many jobs save the same."""


@scenario("killed-while-saving", codes=("F47",), full=30, quick=6, tiny=3)
def killed_while_saving(lab: Lab) -> Findings:
    """Workers die before, in and after uploads, and others sweep: what is stored is there, whole;
    all else is swept; and a sweep after pruning deletes nothing."""
    where = {"folder": str(lab.folder / "artifacts")}
    return _play(lab, where, Folder(storage_at(where)))  # type: ignore[arg-type]


@scenario("killed-while-saving-to-s3", codes=("F47",), full=30, quick=6, tiny=3)
def killed_while_saving_to_s3(lab: Lab) -> Findings:
    """The same with a bucket."""
    with s3_server() as endpoint:
        bucket = a_bucket(endpoint)
        where = {"bucket": bucket.storage.bucket, "endpoint": endpoint}
        return _play(lab, where, Bucket(bucket.storage))


def _play(lab: Lab, where: dict[str, str], place: Place) -> Findings:
    lease = lab.choose(full=LEASE, quick=2.0, tiny=1.5)
    count = lab.choose(full=40, quick=8, tiny=4)
    hows = [*DOOMS, "fails", None] * (count // 4)
    payloads = [{"how": how, "content": n % CONTENTS} for n, how in enumerate(hows)]
    lab.enqueue_many("save", payloads)
    options = {"lease": lease, "concurrency": 1, "where": where}
    with jobq.Queue(lab.url, artifacts=place.storage) as queue:
        deaths, sweeps = _work_and_sweep(lab, queue, options)
        findings = Findings(trials=sum(how in DOOMS for how in hows), hits=deaths)
        findings.figures = {"jobs": len(hows), "deaths": deaths, "swept on the way": sweeps}
        _judge(lab, queue, place, findings)
    return findings


def _work_and_sweep(lab: Lab, queue: jobq.Queue, options: dict[str, Any]) -> tuple[int, int]:
    """Run all jobs with workers that die; how many did, and what was swept meanwhile."""
    workers = [_start(lab, n, options) for n in range(2)]
    lab.await_ready(workers)
    deaths = swept = 0

    def all_done() -> bool:
        nonlocal deaths, swept
        for n, worker in enumerate(workers):
            if not worker.alive:
                deaths += 1
                workers[n] = _start(lab, n, options)
        swept += queue.sweep_artifacts(older_than=0, dry_run=False).objects
        counts = queue.counts()
        return counts["completed"] + counts["failed"] == len(lab.acknowledged())

    lab.until(all_done, 240, "all jobs are finished")
    lab.stop(workers)
    return deaths, swept


def _start(lab: Lab, number: int, options: dict[str, Any]) -> Actor:
    return lab.actor("saving", f"worker-{number}", kind=Saver, **options)


def _judge(lab: Lab, queue: jobq.Queue, place: Place, findings: Findings) -> None:
    tables = checker.dump(lab.url)
    ids = sorted(tables.jobs)
    stored = {id: [a for a in queue.artifacts(id) if a.status == "stored"] for id in ids}
    findings.check(
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.each(
            "a job has stored what its result speaks of",
            tables.jobs.values(),
            lambda job: [one.id for one in stored[job.id]] == [job.result["id"]],
        ),
        checker.each(
            "what is stored is there, whole",
            [one for some in stored.values() for one in some],
            lambda one: hashlib.sha256(place.content(one.key)).hexdigest() == one.sha256,
        ),
    )
    queue.sweep_artifacts(older_than=0, dry_run=False)
    keys = sorted({one.key for some in stored.values() for one in some})
    findings.check(checker.that("nothing is left behind", place.keys() == keys, place.keys()))
    while queue.cleanup_old_jobs(0):
        pass
    swept = queue.sweep_artifacts(older_than=0, dry_run=False)
    findings.check(
        checker.that("after pruning there is nothing to sweep", swept.rows == 0, swept),
        checker.that("what was stored outlives its job", place.keys() == keys, place.keys()),
    )
