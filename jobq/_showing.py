"""Partial results: what a handler shows of its work before it has ended."""

from __future__ import annotations

from typing import Any

from jobq._checks import short_text
from jobq._errors import OptionError, ResultError
from jobq._payload import dumps, encode_result


class Shown:
    """What one attempt has shown: values by key, as the text of one JSON object."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: dict[str, str] = {}
        self.text = "{}"

    def put(self, key: Any, value: Any) -> None:
        """Show a value, in place of an earlier one of that key. Raises `OptionError`."""
        name = short_text(key, "key", limit=200)
        if name is None:
            raise OptionError("partial: the key is text, not None")
        try:
            part = encode_result(value)
        except ResultError as error:
            raise OptionError(f"partial {name!r}: {error.reason} (at {error.path})") from None
        parts = {**self._parts, name: part}
        text = f"{{{','.join(f'{dumps(key)}:{part}' for key, part in parts.items())}}}"
        if len(text.encode()) > self._most:
            raise OptionError(
                f"partial {name!r}: all parts together would take {len(text.encode())} bytes of "
                f"JSON, more than the {self._most} allowed; show addresses instead of data, or "
                f"raise Queue(bounds=Bounds(partial=…))"
            )
        self._parts, self.text = parts, text


class Showing:
    """A verb of an `async def` handler's context."""

    _attempt: Any

    async def partial(self, key: str, value: Any) -> None:
        """Show a part of the result before there is one: in `Job.partial`, by its key.

        The value is any JSON, or what a handler may return. A later one of the same key takes its
        place. Cheap to call often: what is stored is the newest, about twice a second. Parts are
        gone when the job completes, and stay when it fails; the next attempt begins anew.

        >>> await job.partial("image:3", {"url": url})  # doctest: +SKIP
        """
        self._attempt.show(key, value)


class SyncShowing:
    """A verb of a `def` handler's context."""

    _attempt: Any

    def partial(self, key: str, value: Any) -> None:
        """Show a part of the result before there is one; see `JobContext.partial`."""
        self._attempt.show(key, value)
