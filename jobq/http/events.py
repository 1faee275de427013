"""A job's progress as server-sent events."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from msgspec import json

from jobq._errors import BackendUnavailable, JobNotFound
from jobq._model import Job
from jobq.http.artifacts import shown
from jobq.http.messages import EVENTS, Stream
from jobq.http.operations import Call
from jobq.http.steps import Operation, Step, Watch

HEADERS = {
    "content-type": EVENTS,
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
RECONNECT_AFTER = 1000
"""Milliseconds that a browser waits before it comes back to a stream that has ended."""
STILL_HERE = b": still here\n\n"


def events(call: Call) -> Operation:
    """The current state at once, then every change, until the job has finished or time is up.

    An event's id is the job's version. Who comes back with one is told the current state, if that
    is another; nothing is lost by it, because a state says all that the ones before it said.
    """
    job = yield from call.job()
    seen = call.request.headers.get("last-event-id")
    api = call.api
    options = api.options
    chunks = _chunks(call, job, seen, longest=options.longest_stream, heartbeat=options.heartbeat)
    return Stream(headers=HEADERS, chunks=chunks)


def _chunks(
    call: Call, job: Job, seen: str | None, *, longest: float, heartbeat: float
) -> Generator[Step | bytes, Any, None]:
    until = time.monotonic() + longest
    yield b"retry: %d\n\n" % RECONNECT_AFTER
    if seen != str(job.version) or job.status.finished:
        yield frame(job, *(yield from shown(call, [job])))
    while not job.status.finished and (left := until - time.monotonic()) > 0:
        try:
            news = yield Watch(job, min(heartbeat, left))
        except BackendUnavailable:
            news = None  # a client that is sent away by an error does not come back
        except JobNotFound:
            return
        if news is None:
            yield STILL_HERE
        else:
            job = news
            yield frame(job, *(yield from shown(call, [job])))


def frame(job: Job, shape: dict[str, Any]) -> bytes:
    """A job as an event: `end` is the last one, `job` each before it."""
    name = b"end" if job.status.finished else b"job"
    # JSON has no line breaks in it, so one `data` line holds it.
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (job.version, name, json.encode(shape))
