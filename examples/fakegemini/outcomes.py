"""What can become of a request, and what decides it: a script, or chance with a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a request; the ledger's word for it."""

    OK = "ok"
    REFUSED = "refused"
    """The safety filter keeps the answer."""
    NO_IMAGE = "no_image"
    """A good answer without the image that was asked for."""
    FAILED_LATER = "failed_later"
    """A video operation that starts and ends with an error."""
    CANCELLED = "cancelled"
    """A video operation that was cancelled before its end."""
    ERROR = "error"
    """500."""
    OVERLOADED = "overloaded"
    """503, or 529."""
    HANG = "hang"
    """The work is done and billed, and no answer ever comes."""
    RESET = "reset"
    """The work is done and billed, and the connection is reset."""
    RATE_LIMITED = "rate_limited"
    """429, for this minute."""
    DAY_LIMITED = "day_limited"
    """429, for today."""
    NO_CREDIT = "no_credit"
    """The account is empty."""
    BAD_KEY = "bad_key"
    FORBIDDEN = "forbidden"
    BAD_REQUEST = "bad_request"
    NOT_FOUND = "not_found"
    HELD = "held"
    """The request is held until `release`; then it is answered as usual."""
    WORKING = "working"
    """Not decided yet."""


SCRIPTED = frozenset(Outcome) - {
    Outcome.WORKING,
    Outcome.CANCELLED,
    Outcome.FORBIDDEN,
    Outcome.NOT_FOUND,
}
"""What a script may ask for."""


@dataclass(frozen=True)
class Faults:
    """How probable each fault is, from 0 to 1; together at most 1.

    What happens to a prompt depends on the seed, the model, the prompt and how often it came
    before, never on the order in which clients send their prompts.

    Raises:
        ValueError: a probability below 0, or more than 1 together.
    """

    error: float = 0.0
    overloaded: float = 0.0
    refused: float = 0.0
    no_image: float = 0.0
    hang: float = 0.0
    reset: float = 0.0

    def __post_init__(self) -> None:
        values = list(vars(self).values())
        if min(values) < 0 or sum(values) > 1:
            raise ValueError("probabilities must be from 0 to 1, and at most 1 together")

    def pick(self, chance: random.Random) -> Outcome:
        """One outcome."""
        drawn = chance.random()
        for name, probability in vars(self).items():
            if drawn < probability:
                return Outcome(name)
            drawn -= probability
        return Outcome.OK


@dataclass
class Rule:
    """What becomes of the next requests that fit; an empty condition fits all.

    `prompt` must occur in the request's prompt. Outcomes are used up one by one; with `forever`
    the last one stays. `text` replaces the answer's text wherever an outcome has one.
    """

    outcomes: list[Outcome]
    prompt: str = ""
    key: str = ""
    model: str = ""
    endpoint: str = ""
    forever: bool = False
    text: str | None = None

    def fits(self, *, prompt: str, key: str, model: str, endpoint: str) -> bool:
        wanted = (self.key, key), (self.model, model), (self.endpoint, endpoint)
        return self.prompt in prompt and all(w in {"", has} for w, has in wanted)

    def take(self) -> Outcome:
        stays = self.forever and len(self.outcomes) == 1
        return self.outcomes[0] if stays else self.outcomes.pop(0)


@dataclass
class Script:
    """Rules, the oldest first."""

    rules: list[Rule] = field(default_factory=list)

    def add(self, rule: Rule) -> None:
        """One more rule.

        Raises:
            ValueError: it has no outcomes, or one that cannot be asked for.
        """
        rule.outcomes = [Outcome(outcome) for outcome in rule.outcomes]
        for name in ("prompt", "key", "model", "endpoint"):
            if not isinstance(getattr(rule, name), str):
                raise ValueError(f"{name} must be a text")  # noqa: TRY004  as of a bad outcome
        if not rule.outcomes:
            raise ValueError("a rule needs at least one outcome")
        for outcome in rule.outcomes:
            if outcome not in SCRIPTED:
                raise ValueError(f"{outcome} cannot be asked for; {_listed(SCRIPTED)} can")
        self.rules.append(rule)

    def next(self, *, prompt: str, key: str, model: str, endpoint: str) -> _Step | None:
        """What the oldest rule that fits says about this request."""
        for rule in self.rules:
            if rule.fits(prompt=prompt, key=key, model=model, endpoint=endpoint):
                step = _Step(rule.take(), rule.text)
                if not rule.outcomes:
                    self.rules.remove(rule)
                return step
        return None


@dataclass(frozen=True)
class _Step:
    outcome: Outcome
    text: str | None


class Dice:
    """The chance of each request, by seed, model, prompt and how often it came."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._came: Counter[tuple[str, str]] = Counter()

    def roll(self, model: str, prompt: str) -> random.Random:
        self._came[model, prompt] += 1
        return random.Random(f"{self._seed}/{self._came[model, prompt]}/{model}/{prompt}")


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
