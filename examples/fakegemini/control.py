"""The provider's back door: its ledger, and what tests and demonstrations change while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from examples.fakegemini.limits import Limits
from examples.fakegemini.outcomes import Rule
from examples.fakegemini.provider import Provider
from examples.fakegemini.wire import Answer, Request, Response


class Control:
    """`GET /health`, `GET /ledger`, `POST /script`, `POST /limits`, `POST /release`."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._doors: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("GET", "/health"): lambda _: {"status": "healthy"},
            ("GET", "/ledger"): lambda _: provider.ledger.as_json(),
            ("POST", "/script"): self._script,
            ("POST", "/limits"): self._limits,
            ("POST", "/release"): self._release,
        }

    async def answer(self, request: Request) -> Answer:
        """The answer of the back door, or else the provider's."""
        door = self._doors.get((request.method, request.path))
        if door is None:
            return await self._provider.answer(request)
        try:
            return Response.of(200, door(request))
        except (TypeError, ValueError) as error:
            return Response.of(400, {"error": str(error)})

    def _script(self, request: Request) -> dict[str, Any]:
        self._provider.script.add(Rule(**request.object()))
        return {"rules": len(self._provider.script.rules)}

    def _limits(self, request: Request) -> dict[str, Any]:
        asked = request.object()
        model = asked.pop("model", None)
        self._provider.doors.change(Limits(**asked), model)
        return asked

    def _release(self, _: Request) -> dict[str, Any]:
        self._provider.release()
        return {}
