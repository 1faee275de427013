"""What jobs have saved, from the dashboard itself: no picture comes from elsewhere."""

from __future__ import annotations

from jobq import _artifact_verbs, _verbs
from jobq.artifacts import Artifact
from jobq.http import artifacts, reading
from jobq.http.dashboard.visit import Visit
from jobq.http.steps import Ask, Operation

PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif")
"""What a page shows; other kinds are links."""


def artifact(visit: Visit) -> Operation:
    """The bytes of an artifact."""
    yield from visit.admit()
    job = yield Ask(_verbs.get, reading.id_of(visit.id))
    found: list[Artifact] = yield Ask(_artifact_verbs.artifacts, [job.id])
    return (yield from artifacts.content(visit, artifacts.named(visit.name, found)))
