"""`jobq artifacts`: list what a job has saved, sweep what was left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import jobq
from jobq.testing import drain
from tests.artifacts import PNG
from tests.cli.conftest import Run


@pytest.fixture
def job(
    queue: jobq.Queue, router: jobq.Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> jobq.Job:
    """A job that has saved one thing, and left another behind."""
    monkeypatch.setenv("JOBQ_ARTIFACTS", str(tmp_path / "kept"))

    @router.handler("paint")
    async def paint(payload: dict[str, Any], job: jobq.JobContext) -> None:
        await job.save(b"a first draft", name="door.png", content_type="image/png")
        await job.save(PNG, name="door.png")

    job = queue.enqueue("paint", {})
    drain(queue)
    return job


def test_what_a_job_has_saved_is_listed(on: Run, job: jobq.Job) -> None:
    code, out, err = on("artifacts", "list", job.id)
    assert (code, err) == (0, "")
    head, draft, door = out.splitlines()
    assert head.split() == ["NAME", "TYPE", "BYTES", "STATUS", "STEP", "CREATED", "KEY"]
    assert draft.split()[:4] == ["door.png", "image/png", "13", "uploading"]
    assert door.split()[:4] == ["door.png", "image/png", str(len(PNG)), "stored"]
    [_, shown] = json.loads(on("artifacts", "list", job.id, "--json").out)
    assert (shown["jobId"], shown["status"], shown["url"]) == (job.id, "stored", None)


def test_a_job_that_has_saved_nothing_says_so(on: Run, queue: jobq.Queue) -> None:
    job = queue.enqueue("any", {})
    assert on("artifacts", "list", job.id) == (0, "it has saved nothing\n", "")


def test_a_sweep_only_counts_until_it_is_told_to_delete(
    on: Run, job: jobq.Job, tmp_path: Path
) -> None:
    sweep = ("artifacts", "sweep", "--older-than", "0")
    assert on("artifacts", "sweep") == (0, "nothing to sweep\n", "")  # it has just finished
    said = "would delete 1 objects of 13 bytes, 1 rows; --delete does it\n"
    assert on(*sweep) == (0, said, "")
    assert len([path for path in (tmp_path / "kept").rglob("*") if path.is_file()]) == 2
    told = json.loads(on(*sweep, "--delete", "--json").out)
    assert told == {"rows": 1, "objects": 1, "bytes": 13, "dryRun": False}
    [left] = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert left.read_bytes() == PNG
    assert on(*sweep, "--delete") == (0, "nothing to sweep\n", "")


def test_an_action_is_needed(on: Run) -> None:
    code, _, err = on("artifacts")
    assert code == 2
    assert "ACTION" in err


def test_a_bad_setting_is_told_of(on: Run, job: jobq.Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBQ_ARTIFACTS", "ftp://somewhere")
    code, _, err = on("artifacts", "sweep")
    assert code == 2
    assert "must be a folder or s3://bucket" in err
