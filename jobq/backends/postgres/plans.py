"""How a session plans the statements that are prepared on it.

Most statements have one good plan, whatever their parameters: it is kept. Those marked as
replanned have not, and a plan that was made for an empty table is a bad one an hour later. Without
a setting of the session they are not prepared at all: parsed, analysed and planned at each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen


@frozen
class Plans:
    """Settings of a session, and from what they are changed: others' choices stay."""

    settings: tuple[tuple[str, str, str], ...] = ()
    """Name, what it is by default, and what it is to be."""

    @property
    def words(self) -> Sequence[str]:
        """Expressions that set them where the server is the one that was connected to."""
        return [
            f"CASE WHEN pg_backend_pid() = %(pid)s AND current_setting('{name}') = '{usual}'"
            f" THEN set_config('{name}', '{wanted}', false) END"
            for name, usual, wanted in self.settings
        ]

    def are_heeded(self, answers: Sequence[Any]) -> bool:
        """Whether replanned statements may be prepared, by what the server has set."""
        return bool(self.settings) and None not in answers


AS_USUAL = Plans()
ANEW = Plans((("plan_cache_mode", "auto", "force_custom_plan"),))
"""For a worker's sessions: a prepared statement saves all but the planning, a third of a claim."""
BY_INDEX = Plans(
    (
        ("plan_cache_mode", "auto", "force_generic_plan"),
        ("enable_seqscan", "on", "off"),
        ("enable_hashjoin", "on", "off"),
        ("enable_mergejoin", "on", "off"),
    )
)
"""For a session that only writes rows whose keys it is given: one plan, right for any table."""
