"""What an API must do so that the provider can speak it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from examples.fakegemini.calls import Call, Made, RefusedError
from examples.fakegemini.limits import Quota, Standing
from examples.fakegemini.wire import Request, Response


@dataclass(frozen=True)
class Context:
    """What an answer may tell beside the result itself."""

    number: int
    """The request's number in the ledger."""
    now: float
    model: str
    standings: Mapping[Quota, Standing]


class Api(Protocol):
    """One provider's way to ask and to answer."""

    def key(self, request: Request) -> str | None:
        """The API key of a request."""

    def read(self, request: Request, model: str) -> Call:
        """What a request asks for.

        Raises:
            RefusedError: it is not understood.
            ValueError: it is no JSON.
        """

    def reply(self, call: Call, made: Made, context: Context) -> Response:
        """The answer that carries a result."""

    def refuse(self, refusal: RefusedError, context: Context) -> Response:
        """The answer that says why there is none."""


def bearer(request: Request) -> str | None:
    """The key behind `Authorization: Bearer`."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() or None if kind.lower() == "bearer" else None
