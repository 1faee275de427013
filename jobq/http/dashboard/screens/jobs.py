"""Jobs: looking for them, and moving many at once."""

from __future__ import annotations

from typing import Any

from jobq import _verbs
from jobq._errors import OptionError
from jobq._model import Job, WorkerInfo, job_id
from jobq.backends.ops import Found
from jobq.http.dashboard import filters, verbs
from jobq.http.dashboard.formats import count
from jobq.http.dashboard.visit import Visit
from jobq.http.reading import invalid
from jobq.http.steps import Ask, Operation, Steps

PAGE = 50
MOST_SELECTED = 200
DONE = {"retry": "retried", "cancel": "cancelled", "delete": "deleted"}


def jobs(visit: Visit) -> Operation:
    operator = yield from visit.admit()
    wanted = (visit.asked("id") or "").strip()
    if wanted:
        return visit.redirect(visit.url(f"/jobs/{_id(wanted)}"))
    which = filters.read(visit)
    after = visit.asked("after")
    cursor = None if after is None else _id(after)
    found: Found = yield Ask(verbs.search, which.search, limit=PAGE, after=cursor)
    counts = yield Ask(verbs.status_counts)
    workers: list[WorkerInfo] = yield Ask(_verbs.workers)
    return visit.page(
        operator,
        found=found,
        which=which,
        counts=counts,
        after=after,
        bulk=verbs.BULK,
        types=sorted({type for worker in workers for type in worker.types}),
        queues=sorted({queue for worker in workers for queue in worker.queues}),
    )


def _id(text: str) -> str:
    try:
        return job_id(text)
    except OptionError:
        raise invalid(f"{text!r:.100} is not a job id (a UUID)") from None


# --- many at once -------------------------------------------------------------------------------


def confirm(visit: Visit) -> Operation:
    """Say how many jobs would be moved, and ask whether they are to be."""
    verb = visit.asked("verb")
    if verb not in verbs.BULK:
        raise invalid(f"{verb!r:.50} is nothing that is done to many jobs")
    operator = yield from visit.admit(verb)
    which = filters.read(visit)
    selected = visit.query.get("id", [])
    ids: list[str] = yield from _ids(verb, which, selected, visit)
    sample: list[Job] = yield Ask(_verbs.get_many, ids[:5])
    return visit.page(
        operator,
        verb=verb,
        which=which,
        selected=selected,
        number=len(ids),
        cap=verbs.CAP,
        sample=sample,
        done=DONE[verb],
    )


def _ids(verb: str, which: filters.Filters, selected: list[str], visit: Visit) -> Steps[list[str]]:
    """The jobs that a verb is to move: those selected, or those that fit."""
    if selected:
        some = yield Ask(verbs.selected, verb, [_id(id) for id in selected[:MOST_SELECTED]])
        return [job.id for job in some]
    if not (visit.query.get("verb") or visit.form.get("all")):
        raise invalid("select at least one job")
    return (yield Ask(verbs.movable, verb, which.search))  # type: ignore[no-any-return]


def move_many(visit: Visit) -> Operation:
    """Move the jobs that were selected, or those that fit now."""
    verb, operator = yield from visit.submit(verbs.BULK)
    which = filters.read(visit, of_form=True)
    selected = visit.form.get("id", [])
    ids = yield from _ids(verb, which, selected, visit)
    moved: int = yield Ask(verbs.move, verb, ids)
    target: Any = f"{len(selected)} selected jobs" if selected else which.given or "all jobs"
    visit.log(operator, verb, f"{moved} of {target}")
    left = "; there may be more" if len(ids) >= verbs.CAP else ""
    jobs = "job" if moved == 1 else "jobs"
    return visit.done(f"{count(moved)} {jobs} {DONE[verb]}{left}.", "/jobs", **which.given)
