"""How a session plans the statements that are prepared on it.

Most statements have one good plan, whatever their parameters: it is kept. Those marked as
replanned have not, and a plan that was made for an empty table is a bad one an hour later. Without
a setting of the session they are not prepared at all: parsed, analysed and planned at each call.
"""

from __future__ import annotations

Plans = tuple[tuple[str, str, str], ...]
"""Settings of a session: the name of each, its usual value, and what it is to be instead. Where
somebody has chosen another value, that one stays."""

AS_USUAL: Plans = ()
ANEW: Plans = (("plan_cache_mode", "auto", "force_custom_plan"),)
"""For a worker's sessions: a prepared statement saves all but the planning, a third of a claim."""
