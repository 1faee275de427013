"""How a provider is to behave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from examples.fakegemini.calls import Prices
from examples.fakegemini.limits import Limits
from examples.fakegemini.outcomes import Faults
from examples.fakegemini.windows import WindowKind


@dataclass(frozen=True)
class Options:
    """All choices, none needed.

        Options(rpm=60, speed=10, projects={"key-a": "studio", "key-b": "studio"}, latency=1.0)

    is a provider of 60 requests in any 6 real seconds for both keys together, which needs about a
    tenth of a second for each.

    Raises:
        ValueError: a number that makes no sense.
    """

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    models: Mapping[str, Limits] = field(default_factory=dict)
    """Limits of models that have their own, in place of the three above."""
    window: WindowKind = "sliding"
    burst: int | None = None
    """Requests that a bucket keeps; 1 enforces 60 a minute as one a second."""
    projects: Mapping[str, str] | None = None
    """The project of each key; other keys are refused. None: every key is the same project's."""
    speed: float = 1.0
    """How much shorter a minute, a latency and the making of a video are than in reality. What
    clients are told to wait is in real seconds. The day stays as long as it is."""
    seed: int = 0
    latency: float = 0.0
    """Median seconds that a request takes."""
    spread: float = 0.0
    """Sigma of the latencies' lognormal distribution; 0 makes all the same."""
    video_seconds: float = 20.0
    """Seconds from the start of a video's operation to its end."""
    faults: Faults = field(default_factory=Faults)
    prices: Prices = field(default_factory=Prices)
    ledger: Path | None = None
    """A file for the ledger's lines; they are added to what it has."""

    def __post_init__(self) -> None:
        if self.speed <= 0:
            raise ValueError(f"speed must be above 0, not {self.speed}")
        if min(self.latency, self.spread, self.video_seconds) < 0:
            raise ValueError("latency, spread and video_seconds must not be negative")
        if self.burst is not None and (self.burst < 1 or self.window != "bucket"):
            raise ValueError("burst must be at least 1, and is for the bucket window only")

    @property
    def limits(self) -> Limits:
        """The limits of models that have none of their own."""
        return Limits(rpm=self.rpm, tpm=self.tpm, rpd=self.rpd)
