"""A request for paid work and its result, whichever API it came by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from examples.fakegemini.limits import Standing
from examples.fakegemini.outcomes import Outcome

TOKENS_OF_AN_IMAGE = 258

Kind = Literal["text", "image", "video"]


@dataclass(frozen=True)
class Call:
    """What a request asks for."""

    endpoint: str
    model: str
    prompt: str
    kind: Kind
    count: int = 1
    """Images or videos asked for."""
    pictures: int = 0
    """Images sent along."""
    size: tuple[int, int] = (64, 64)
    schema: Mapping[str, Any] | None = None
    """The JSON schema that the text must have."""
    tool: str | None = None
    """The tool that the text must call with `schema`."""

    @property
    def tokens(self) -> int:
        """Tokens of the prompt, about as providers count them."""
        return count_tokens(self.prompt) + TOKENS_OF_AN_IMAGE * self.pictures


@dataclass(frozen=True)
class Made:
    """The work that was done for a call."""

    outcome: Outcome
    input_tokens: int
    text: str | None = None
    images: list[bytes] = field(default_factory=list)
    videos: int = 0
    operation: str | None = None

    @property
    def output_tokens(self) -> int:
        return count_tokens(self.text or "") + 1290 * len(self.images)


@dataclass(frozen=True)
class Prices:
    """Millionths of a dollar. Images and videos are paid by the piece, texts by their tokens."""

    image: int = 39_000
    video: int = 400_000
    input_token: int = 1
    output_token: int = 4

    def of(self, call: Call, made: Made) -> int:
        """The price of a call."""
        if call.kind == "image":
            return self.image * len(made.images)
        if call.kind == "video":
            return self.video * made.videos
        return self.input_token * made.input_tokens + self.output_token * made.output_tokens


class RefusedError(Exception):
    """The provider does not do the work: `outcome` says why, `limit` which limit is closed."""

    def __init__(self, outcome: Outcome, message: str, limit: Standing | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message
        self.limit = limit

    @property
    def wait(self) -> float | None:
        """Real seconds until the next try may succeed, where waiting helps."""
        if self.limit is None or math.isinf(self.limit.wait):
            return None
        return self.limit.wait


def bad_request(message: str) -> RefusedError:
    return RefusedError(Outcome.BAD_REQUEST, message)


def part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An optional object inside a body.

    Raises:
        RefusedError: it is something else.
    """
    found = body.get(name) or {}
    if not isinstance(found, dict):
        raise bad_request(f"{name} must be an object")
    return found


def count_tokens(text: str) -> int:
    """About four characters are a token."""
    return math.ceil(len(text) / 4)
