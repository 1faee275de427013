"""Ids that are named again from a few bytes, and that nobody else can name."""

from __future__ import annotations

import time
from itertools import islice
from uuid import RFC_4122, UUID

from jobq._series import BLOCK, LONGEST, Series


def test_a_series_names_the_same_ids_again() -> None:
    series = Series()
    every = list(series)
    assert every == list(series)
    assert every[3 * BLOCK : 4 * BLOCK] == series.block(3)


def test_ids_are_uuids_of_the_seventh_version_and_of_now() -> None:
    began = time.time_ns() // 1_000_000
    for text in islice(Series(), 300):
        id = UUID(text)
        assert (str(id), id.version, id.variant) == (text, 7, RFC_4122)
        assert began <= id.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_ascend_to_the_end() -> None:
    ids = list(Series())
    assert len(set(ids)) == LONGEST
    assert ids == sorted(ids)


def test_two_series_of_one_instant_share_no_random_bits() -> None:
    random = [{UUID(id).int & (1 << 60) - 1 for id in Series()} for _ in range(2)]
    assert all(len(bits) == LONGEST for bits in random)
    assert not random[0] & random[1]
