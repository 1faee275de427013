"""Why a pool has no connection to give, which it does not say itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from jobq._masking import mask


class Attempts:
    """What came of a pool's attempts to connect: whoever waited in vain is told of the last.

    Nothing is asked of the server for it, which may have trouble enough.
    """

    def __init__(self) -> None:
        self._under_way: set[object] = set()
        self._failure = ""

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note how the block, a part of an attempt, ends."""
        attempt = object()
        self._under_way.add(attempt)
        try:
            yield
        except psycopg.Error as error:
            self._failure = mask(" ".join(str(error).split()))
            raise
        else:
            self._failure = ""
        finally:
            self._under_way.discard(attempt)

    def reason(self, size: int) -> str:
        """A refusal, a wrong password, a silent server, or that all `size` are in use."""
        if self._failure:
            return self._failure
        if self._under_way:
            return "the server has not answered"
        return f"all {size} of the pool are in use"
