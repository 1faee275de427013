"""What must always hold of the steps of jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tests.simulator.databases import Database, table

if TYPE_CHECKING:
    from tests.simulator.scheduler import Sent

Row = dict[str, Any]
STEP = ("job_id", "name", "status", "fence", "result")


class Steps:
    """The steps that are recorded, as they were when it was looked last."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, str], Row] = {}

    def changed(self, sent: Sent, jobs: Mapping[str, Row]) -> Iterator[tuple[Any, ...]]:
        """The promises that an op has broken, with the facts."""
        op, before = sent.op.__name__, self._known
        rows = table(self._database, "jobq_step", *STEP)
        self._known = {(row["job_id"], row["name"]): row for row in rows}
        if not before.keys() <= self._known.keys():
            yield "no step is lost", op
        for key, row in self._known.items():
            old, job = before.get(key), jobs[row["job_id"]]
            if row == old:
                continue
            asked = (sent.kwargs.get("id"), sent.kwargs.get("fence"))
            if job["status"] != "processing" or asked != (job["id"], job["fence"]):
                yield "a step is written by the claim that holds its job", op, job, old, row
            if old is not None and old["status"] == "done":
                yield "what is done stays as it is", op, job, old, row
