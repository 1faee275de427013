"""Ids of jobs that are stored together, which need not be remembered one by one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

BLOCK = 64
"""How many ids are made at once."""
LONGEST = 256 * BLOCK
"""How many a series has."""
_DIGITS = 15
"""Hexadecimal digits of each that cannot be guessed."""
# A block's number is the first eight bits of the counter. Four more follow before the variant's
# two bits, and two behind them.
_PLACES = [
    (n * _DIGITS, n * _DIGITS + 3, (n + 1) * _DIGITS, f"{n >> 2:x}-{'89ab'[n & 3]}")
    for n in range(BLOCK)
]


class Series:
    """Ids as those of `new_id`, in ascending order: UUIDv7 with a counter (RFC 9562, 6.2).

    Their random bits are the output of SHAKE128 for a secret of their own. Who knows some of them
    can tell no other; who has the series can name them all again.
    """

    __slots__ = ("_prefix", "_secret")

    def __init__(self) -> None:
        millis = f"{time.time_ns() // 1_000_000:012x}"
        self._prefix = f"{millis[:8]}-{millis[8:]}-7"
        self._secret = os.urandom(16)

    def block(self, number: int) -> list[str]:
        """Those from `number * BLOCK` on, the same whenever they are asked for."""
        from hashlib import shake_128  # which whoever enqueues one job need not load

        random = shake_128(self._secret + number.to_bytes(2)).hexdigest(_DIGITS * BLOCK // 2)
        head = f"{self._prefix}{number:02x}"
        return [f"{head}{n}{random[a:b]}-{random[b:c]}" for a, b, c, n in _PLACES]

    def __iter__(self) -> Iterator[str]:
        for number in range(LONGEST // BLOCK):
            yield from self.block(number)
