"""How a session plans the statements that are prepared on it.

Most statements have one good plan, whatever their parameters: it is kept. Those marked as
replanned have not, and a plan that was made for an empty table is a bad one an hour later. Without
a setting of the session they are not prepared at all: parsed, analysed and planned at each call.
"""

from __future__ import annotations

from jobq.backends._statement import Call

Plans = tuple[tuple[str, str, str], ...]
"""Settings of a session: the name of each, its usual value, and what it is to be instead. Where
somebody has chosen a third value, that one stays."""

AS_USUAL: Plans = ()
ANEW: Plans = (("plan_cache_mode", "auto", "force_custom_plan"),)
"""For a worker's sessions: a prepared statement saves all but the planning, a third of a claim."""
KEPT: Plans = (
    ("plan_cache_mode", "auto", "force_generic_plan"),
    ("enable_seqscan", "on", "off"),
    ("enable_bitmapscan", "on", "off"),
    ("enable_hashjoin", "on", "off"),
    ("enable_mergejoin", "on", "off"),
    ("jit", "on", "off"),
)
"""For the session of outcomes, and of claims for free slots: it saves the planning, too.

Statements that are settled have one plan each, by an index, that is right for any tables and
parameters. What could mislead PostgreSQL is turned off: for tables that are still empty other
plans would do as well, and its guess how many rows a LIMIT lets pass is a part of all there are.
Other statements are not prepared: they are seldom here.
"""


def may_prepare(call: Call, plans: Plans) -> bool:
    """Whether a session that was told so may prepare a statement."""
    if plans == KEPT:
        return call.settled
    return plans == ANEW or not call.replan
