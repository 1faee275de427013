"""Scripts: what the scheduler chooses, one action after the other. The same on every database."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.simulator.processes import HOW
from tests.simulator.scheduler import FAULTS

Action = tuple[Any, ...]
"""The name of a method of `Play`, and its arguments."""
Script = Sequence[Action]
ANY = range(64)
VERBS = ("cancel", "retry", "reschedule", "set_status")
ACTIONS: dict[str, tuple[int, tuple[Sequence[Any], ...]]] = {
    "enqueue": (
        8,
        (
            ANY,
            (True, True, False),
            (1, 1, 2),
            ANY,
            (0, 0, 0, 5, 20),
            (-1, 0, 0, 1),
            (0, 0, 1, 2),
            (0, 0, 0, 9, 30),
        ),
    ),
    "go": (14, ((1, 2, 4, 8, 16),)),
    "send": (14, (ANY, (None, None, *FAULTS))),
    "wait": (8, ((0.1, 1.0, 4.0, 11.0, 30.0),)),
    "jump": (2, ((-30, -3, 3, 30),)),
    "end": (10, (ANY, ("returns", "returns", *HOW))),
    "record": (6, (ANY, ("steps", "steps", "sleeps"))),
    "crash": (2, (ANY,)),
    "pause": (2, (ANY,)),
    "resume": (3, (ANY,)),
    "oversleep": (2, (ANY, ("returns", "completes", "steps", *HOW))),
    "awake_late": (1, (ANY, ("returns", "completes", "steps", *HOW))),
    "doze": (2, (ANY,)),
    "stop": (1, (ANY,)),
    "hint": (1, ()),
    "operate": (4, (VERBS, ANY)),
    "limit": (2, (ANY,)),
}
"""How often each is chosen, and from what its arguments are."""
_ACTION = st.one_of(
    [
        st.tuples(st.just(name), *map(st.sampled_from, arguments))
        for name, (weight, arguments) in ACTIONS.items()
        for _ in range(weight)
    ]
)


def scripts() -> st.SearchStrategy[list[Any]]:
    """Any script, for Hypothesis, which makes a failing one as short as it can."""
    return st.lists(_ACTION, min_size=20, max_size=80)


def seeded(seed: int, length: int = 60, *, same_everywhere: bool = False) -> list[Action]:
    """The script of a seed.

    With `same_everywhere` without a connection that is lost in the middle of an op: how much of it
    is then stored depends on the database.
    """
    dice = random.Random(seed)
    weights = [weight for weight, _ in ACTIONS.values()]
    script = []
    for name in dice.choices(list(ACTIONS), weights, k=length):
        arguments = tuple(dice.choice(some) for some in ACTIONS[name][1])
        if same_everywhere and name == "send" and arguments[1] == "midway":
            arguments = (arguments[0], "lost")
        script.append((name, *arguments))
    return script
