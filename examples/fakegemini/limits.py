"""Limits of each project and model: requests and tokens a minute, requests a day."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from examples.fakegemini.windows import CalendarDay, Window, WindowKind, window

Quota = Literal["requests", "tokens", "day"]


@dataclass(frozen=True)
class Limits:
    """What a project may ask of one model; None is no limit.

    `rpm` and `tpm` are per minute of the provider, which `speed` shortens; `rpd` is per real day,
    from midnight to midnight in California.

    Raises:
        ValueError: a limit below 1.
    """

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm", "rpd"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")


@dataclass(frozen=True)
class Standing:
    """How a limit stands: how much is free, and when an amount gets in."""

    quota: Quota
    limit: int
    free: int
    wait: float
    """Real seconds; infinity if the amount is larger than the limit."""


class Doors:
    """Lets requests in or not. All limits of a request are taken, or none."""

    def __init__(
        self,
        limits: Limits,
        models: Mapping[str, Limits] | None = None,
        *,
        kind: WindowKind = "sliding",
        burst: int | None = None,
        minute: float = 60.0,
    ) -> None:
        self._limits = limits
        self._models = dict(models or {})
        self._kind = kind
        self._burst = burst
        self._minute = minute
        self._windows: dict[tuple[str, str, Quota], Window] = {}
        window(kind, 1, minute)  # an unknown kind is an error now

    def change(self, limits: Limits, model: str | None = None) -> None:
        """Other limits from now on, for one model or for all that have none of their own."""
        if model is None:
            self._limits = limits
        else:
            self._models[model] = limits

    def admit(self, project: str, model: str, tokens: int, now: float) -> Standing | None:
        """Let a request in, and return nothing; or return the limit that keeps it out longest."""
        found = self._of(project, model)
        asked: dict[Quota, int] = {"requests": 1, "tokens": tokens, "day": 1}
        closed = [
            stands
            for quota, door in found.items()
            if (stands := _standing(quota, door, asked[quota], now)).wait > 0
        ]
        if closed:
            return max(closed, key=lambda stands: stands.wait)
        for quota, door in found.items():
            door.take(asked[quota], now)
        return None

    def standings(self, project: str, model: str, now: float) -> dict[Quota, Standing]:
        """How the limits stand, for the headers that tell clients. `wait` is that of all of it."""
        found = self._of(project, model)
        return {quota: _standing(quota, door, door.limit, now) for quota, door in found.items()}

    def _of(self, project: str, model: str) -> dict[Quota, Window]:
        limits = self._models.get(model, self._limits)
        wanted: dict[Quota, int | None] = {
            "requests": limits.rpm,
            "tokens": limits.tpm,
            "day": limits.rpd,
        }
        found = {}
        for quota, limit in wanted.items():
            if limit is not None:
                found[quota] = self._window(project, model, quota, limit)
        return found

    def _window(self, project: str, model: str, quota: Quota, limit: int) -> Window:
        key = (project, model, quota)
        if key not in self._windows:
            self._windows[key] = self._made(quota, limit)
        found = self._windows[key]
        found.limit = limit
        return found

    def _made(self, quota: Quota, limit: int) -> Window:
        if quota == "day":
            return CalendarDay(limit)
        # A burst is counted in requests.
        burst = self._burst if quota == "requests" else None
        return window(self._kind, limit, self._minute, burst)


def _standing(quota: Quota, door: Window, amount: int, now: float) -> Standing:
    return Standing(quota, door.limit, door.free(now), door.wait(amount, now))


def never(stands: Standing) -> bool:
    """Whether waiting cannot help: the request alone is larger than the limit."""
    return math.isinf(stands.wait)
