"""An attempt and what ends it, as it is sent to the database."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Integer, Text

from jobq._outcome import Transition


class Ending(NamedTuple):
    """An attempt and what ends it."""

    id: str
    fence: int
    number: int
    started_at: int
    worker: str | None
    transition: Transition
    progress: int = 0
    message: str | None = None
    partial: str | None = None
    """What the handler has shown and is not yet stored."""
    deletes: bool = False
    """Whether the job is to be deleted when it completes (`keep=False`)."""
    committed: bool = False
    """Whether the handler wrote the outcome itself, and it is only to be seen whether it did."""
    artifacts: tuple[str, ...] = ()
    """What it uploaded outside of steps, to be stored if this is the job's end."""

    @property
    def has_more(self) -> bool:
        """Whether more than the job and its history is to be written."""
        return bool(self.committed or self.artifacts or self.transition.waits)

    @property
    def completes(self) -> bool:
        """Whether its job simply completes, and is kept."""
        return self.transition.status == "completed" and not self.deletes and not self.has_more

    @property
    def forgets(self) -> bool:
        """Whether its job is simply to be deleted."""
        return self.deletes and self.transition.status == "completed" and not self.has_more

    def row(self) -> dict[str, Any]:
        move = self.transition
        return {
            "id": self.id,
            "fence": self.fence,
            "number": self.number,
            "started_at": self.started_at,
            "worker": self.worker,
            "status": move.status,
            "outcome": move.outcome,
            "delay": move.delay,
            "run_at": move.run_at,
            "result": move.result,
            "error": move.error,
            "error_code": move.error_code,
            "traceback": move.traceback,
            "given_back": move.given_back,
            "released": move.released,
            "overran": move.overran,
            "snoozed": move.snoozed,
            "crashed": move.crashed,
            "rate_limited": move.rate_limited,
            "ambiguous": move.ambiguous,
            "lane": move.lane,
            "start_keys": move.keys,
            "cancels": int(move.cancels),
            "progress": self.progress,
            "message": self.message,
            "partial": self.partial,
        }


KINDS = {
    "id": Text,
    "fence": BigInteger,
    "number": Integer,
    "started_at": BigInteger,
    "worker": Text,
    "status": Text,
    "outcome": Text,
    "delay": BigInteger,
    "run_at": BigInteger,
    "result": Text,
    "error": Text,
    "error_code": Text,
    "traceback": Text,
    "given_back": Integer,
    "released": Integer,
    "overran": Integer,
    "snoozed": Integer,
    "crashed": Integer,
    "rate_limited": Integer,
    "ambiguous": Integer,
    "lane": Text,
    "start_keys": Text,
    "cancels": Integer,
    "progress": Integer,
    "message": Text,
    "partial": Text,
}
