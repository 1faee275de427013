"""A job's life, from end to end."""

from __future__ import annotations

import jobq


async def test_a_job_is_enqueued_run_and_completed(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("echo")
    async def echo(payload: dict, job: jobq.JobContext) -> dict:
        await job.progress(50, "half way")
        return {"echo": payload}

    job = await aqueue.enqueue(echo, {"a": 1})
    assert await jobq.Worker(aqueue).run_once() == 1
    done = await aqueue.get(job.id)
    assert (done.status, done.result, done.progress) == ("completed", {"echo": {"a": 1}}, 100)
