"""How often to look where other transactions are in the way.

An old snapshot keeps the entries of ended jobs, and looks grow dearer; a row that is held makes
them vain.
"""

from __future__ import annotations

LONGEST = 15.0


def patience(in_vain: int, most: float) -> float:
    """The seconds to leave alone what others hold, after so many looks in a row: twice as long."""
    return min(0.001 * 2.0 ** min(in_vain, 20), most)


class Pace:
    """The rests between looks of one kind.

    They take a fifth of the time at most; the dearer they are than they once were, the smaller
    their share: with 100 ms more they are made every 2 s, with 300 ms more every 15. Those that
    cannot be put off so long say by how much they may be.
    """

    def __init__(self, most_for_dearness: float = LONGEST) -> None:
        self._most = most_for_dearness
        self._least = float("inf")

    def rest(self, cost: float) -> float:
        """The seconds to rest after a look that took `cost` seconds."""
        self._least = min(self._least, cost)
        more = cost - self._least
        return min(4 * cost + min(160 * more * more, self._most), LONGEST)
