"""The configuration behind either face of a queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from jobq._clock import Clock
from jobq._config import KEEP, Bounds, Config, Lifespan, configure
from jobq._limits import Limit
from jobq._masking import shown_url
from jobq._owners import PerOwner
from jobq._routing import Router
from jobq._spend import Budget
from jobq.observe import Observer

if TYPE_CHECKING:
    from jobq._deliveries import Webhooks


class Face:
    """What `Queue` and `AsyncQueue` have in common: one configuration, of which each is a view."""

    def __init__(
        self,
        url: str,
        *,
        router: Router | None = None,
        strict_types: bool = False,
        lifespan: Lifespan | None = None,
        keep: float | timedelta | None = KEEP,
        limits: Mapping[str, Iterable[Limit]] | None = None,
        bounds: Bounds | None = None,
        budget: Budget | None = None,
        per_owner: PerOwner | None = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
        artifacts: Any = None,
        webhooks: Webhooks | None = None,
        **options: Any,
    ) -> None:
        config = configure(
            url,
            router=router,
            strict_types=strict_types,
            lifespan=lifespan,
            keep=keep,
            limits=limits,
            bounds=bounds,
            budget=budget,
            per_owner=per_owner,
            clock=clock,
            observers=observers,
            artifacts=artifacts,
            webhooks=webhooks,
            options=options,
        )
        self._adopt(config)

    @classmethod
    def _face_of(cls, config: Config) -> Self:
        face = cls.__new__(cls)
        face._adopt(config)  # noqa: SLF001  the same class
        return face

    def _adopt(self, config: Config) -> None:
        self._config = config

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {shown_url(self._config.url)}>"

    @property
    def router(self) -> Router:
        """The handlers of this queue."""
        return self._config.router
