"""Try each behaviour once by default, where many pairs of adapter and database could be tried."""

from __future__ import annotations

import os
from collections import defaultdict
from zlib import crc32

import pytest


def keep_one_each(config: pytest.Config, items: list[pytest.Item], *names: str) -> None:
    """Keep one of the tests that differ in these parameters only; other ones for other functions.

    With `JOBQ_EVERY_PAIR` in the environment, as in `nox -s contract`, all of them are kept.
    """
    if "JOBQ_EVERY_PAIR" in os.environ:
        return
    alike: dict[tuple[str, str], list[pytest.Item]] = defaultdict(list)
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if params.keys() >= set(names):
            others = {name: value for name, value in params.items() if name not in names}
            alike[_function(item), repr(others)].append(item)
    left = {
        item
        for (function, _), some in alike.items()
        for item in some
        if item is not some[crc32(function.encode()) % len(some)]
    }
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=list(left))


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
