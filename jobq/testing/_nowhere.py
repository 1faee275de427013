"""Steps of a handler that runs without a database: done, and recorded nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jobq import backends
from jobq._durable import Book, Interruption, Park
from jobq._durable.wait import HOOK
from jobq._errors import OptionError
from jobq._payload import encode_result
from jobq.artifacts import Artifact


def _answer(op: Callable[..., Any], kwargs: Mapping[str, Any]) -> Any:
    """What is to be written down is so already."""
    if op is backends.ops.begin_artifact:
        return _saved(kwargs["row"])
    return kwargs.get("row", [])


def _saved(row: Mapping[str, Any]) -> Artifact:
    known = {name: row[name] for name in row if name not in ("id", "fence", "artifact", "key")}
    return Artifact(id=row["artifact"], job_id=row["id"], key=row["name"], url=None, **known)


class Nowhere:
    """For `async def` handlers."""

    dialect = None

    async def run(self, op: Callable[..., Any], *_: Any, **kwargs: Any) -> Any:
        return _answer(op, kwargs)


class ThreadNowhere:
    """For `def` handlers."""

    dialect = None

    def run(self, op: Callable[..., Any], *_: Any, **kwargs: Any) -> Any:
        return _answer(op, kwargs)


def book_of(waits: Mapping[str, Any]) -> Book:
    """A book in which what the handler waits for has come already; nobody sleeps."""
    row = backends.ops.StepRow
    came = {
        name: row(name, "done", result=encode_result(value), token=f"{HOOK}{name}")
        for name, value in waits.items()
    }
    return Book(rows=came, sleeps=False)


@contextmanager
def told() -> Iterator[None]:
    """Say what a handler that waits was not given."""
    try:
        yield
    except Park as park:
        raise OptionError(
            f"the handler waits for {park!s:.100}: say what comes, with waits={{'{park}': …}}"
        ) from None
    except Interruption as error:
        raise OptionError(f"the handler was not to begin anything new ({error!r})") from None
