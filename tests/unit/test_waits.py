"""How long a caller waits for a job."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import jobq
from jobq import _verbs
from jobq._model import JobStatus, new_id


def test_the_time_of_a_wait_begins_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(_verbs, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    id = new_id()
    waiting = _verbs.wait(SimpleNamespace(), id, 1.0)
    now.seconds += 1.0  # the database was opened meanwhile
    next(waiting)
    with pytest.raises(jobq.WaitTimeout):
        waiting.send(SimpleNamespace(id=id, status=JobStatus.PENDING))
