"""What the examples ask of Gemini, by plain HTTP. Google's own SDK would do as well."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

import jobq

URL = "https://generativelanguage.googleapis.com"
IMAGES = os.environ.get("GEMINI_MODEL_NAME", "gemini-2.5-flash-image")
TEXTS = "gemini-2.5-flash"


class Gemini:
    """Raises `httpx.HTTPStatusError` where Gemini refuses: jobq knows what to make of it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @classmethod
    @asynccontextmanager
    async def connected(cls) -> AsyncIterator[Self]:
        """For a queue's `lifespan`: one client for all jobs of a worker."""
        url = os.environ.get("GEMINI_URL", URL)
        async with httpx.AsyncClient(base_url=url, timeout=120) as http:
            yield cls(http)

    async def image(
        self, prompt: str, key: str, aspect_ratio: str = "1:1", source: bytes | None = None
    ) -> bytes:
        """A new picture, or `source` edited."""
        given: list[dict[str, Any]] = [{"text": prompt}]
        if source is not None:
            picture = base64.b64encode(source).decode()
            given.append({"inlineData": {"mimeType": "image/png", "data": picture}})
        options = {"imageConfig": {"aspectRatio": aspect_ratio}}
        for part in await self._parts(IMAGES, given, key, options):
            if "inlineData" in part:
                return base64.b64decode(part["inlineData"]["data"])
        raise jobq.RetryAfter(0, reason="an answer without an image")

    async def text(self, prompt: str, key: str) -> str:
        return "".join(
            part["text"] for part in await self._parts(TEXTS, [{"text": prompt}], key, {})
        )

    async def _parts(
        self, model: str, given: list[dict[str, Any]], key: str, options: dict[str, Any]
    ) -> list[dict[str, Any]]:
        answer = await self._http.post(
            f"/v1beta/models/{model}:generateContent",
            headers={"x-goog-api-key": key},
            json={"contents": [{"parts": given}], "generationConfig": options},
        )
        [candidate] = answer.raise_for_status().json()["candidates"]
        if candidate["finishReason"] != "STOP":
            raise jobq.Permanent("refused", f"Gemini refuses: {candidate['finishReason']}")
        return list(candidate["content"]["parts"])
