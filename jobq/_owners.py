"""What one owner may have: how many jobs that wait, and how many that run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import Factory, frozen

from jobq._errors import ConfigurationError, OptionError
from jobq._limits import Concurrency, Limit


def _check(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        raise ConfigurationError(f"PerOwner({name}={value!r}) must be an integer from 1 to 1000000")


@frozen(kw_only=True)
class PerOwner:
    """How many jobs each owner may have; jobs without an owner are not counted.

    - `queued`: that wait for their start (`pending` or `rate_limited`). Enqueueing one more raises
      `OwnerLimitExceeded`, over HTTP 429.
    - `running`: that run at the same time. The others wait, and nobody waits behind them.

    At `Queue(per_owner=…)` it is about all jobs of an owner, at `handler(per_owner=…)` about those
    of its type; both hold.

    >>> PerOwner(queued=100, running=2).running
    2
    """

    queued: int | None = None
    running: int | None = None

    def __attrs_post_init__(self) -> None:
        _check("queued", self.queued)
        _check("running", self.running)
        if self.queued is None and self.running is None:
            raise ConfigurationError("PerOwner: give queued or running")

    def places(self, type: str | None = None) -> tuple[Limit, ...]:
        """The limit that `running` is."""
        if self.running is None:
            return ()
        literal = "" if type is None else f":{type.replace('{', '{{').replace('}', '}}')}"
        return (OwnerPlaces(f"owner:{{owner}}{literal}", self.running),)


@frozen
class OwnerPlaces(Concurrency):
    """A limit of the jobs that have an owner."""

    owned_only: ClassVar[bool] = True


def check_per_owner(value: object) -> PerOwner | None:
    """What was given, if something was."""
    if value is None or isinstance(value, PerOwner):
        return value
    raise OptionError(
        f"per_owner must be a PerOwner, as in PerOwner(running=2), not {value!r:.100}"
    )


@frozen
class Bound:
    """How many jobs of one owner may wait: of a type, or of all."""

    most: int
    type: str | None = None


@frozen
class QueueLimits:
    """The limits of whole queues: of some by their names, and of every one."""

    by_queue: Mapping[str, tuple[Limit, ...]] = Factory(dict)
    everywhere: tuple[Limit, ...] = ()

    def get(self, queue: str, otherwise: Any = ()) -> tuple[Limit, ...]:
        """Those of one queue."""
        return (*self.by_queue.get(queue, otherwise), *self.everywhere)

    def values(self) -> list[tuple[Limit, ...]]:
        """All, in groups."""
        return [*self.by_queue.values(), self.everywhere]

    def __bool__(self) -> bool:
        return bool(self.by_queue or self.everywhere)
