"""What the examples ask of Gemini, by plain HTTP. Google's own SDK would do as well."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

import jobq

URL = "https://generativelanguage.googleapis.com"
IMAGES = os.environ.get("GEMINI_MODEL_NAME", "gemini-2.5-flash-image")
TEXTS = "gemini-2.5-flash"
VIDEOS = "veo-3.0-generate"
Hear = Callable[[str, dict[str, Any]], Awaitable[object]]
"""Told of each answer, of use or not, with the model that gave it: it has cost something."""


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
        self,
        prompt: str,
        key: str,
        aspect_ratio: str = "1:1",
        source: bytes | None = None,
        hear: Hear | None = None,
    ) -> bytes:
        """A new picture, or `source` edited."""
        given: list[dict[str, Any]] = [{"text": prompt}]
        if source is not None:
            picture = base64.b64encode(source).decode()
            given.append({"inlineData": {"mimeType": "image/png", "data": picture}})
        options = {"imageConfig": {"aspectRatio": aspect_ratio}}
        for part in await self._parts(IMAGES, given, key, options, hear):
            if "inlineData" in part:
                return base64.b64decode(part["inlineData"]["data"])
        raise jobq.RetryAfter(0, reason="an answer without an image")

    async def text(self, prompt: str, key: str, hear: Hear | None = None) -> str:
        parts = await self._parts(TEXTS, [{"text": prompt}], key, {}, hear)
        return "".join(part["text"] for part in parts)

    async def begin_video(self, prompt: str, key: str, hear: Hear | None = None) -> str:
        """Have a video made; the name of the operation, which takes minutes."""
        body = {"instances": [{"prompt": prompt}], "parameters": {"sampleCount": 1}}
        answer = await self._ask(f"models/{VIDEOS}:predictLongRunning", key, body)
        if hear is not None:
            await hear(VIDEOS, answer)
        return str(answer["name"])

    async def video(self, operation: str, key: str) -> str | None:
        """Where the video of an operation can be read, or None: not yet."""
        answer = await self._ask(operation, key)
        if not answer.get("done"):
            return None
        if "error" in answer:
            raise jobq.Permanent("no_video", answer["error"]["message"])
        made = answer["response"]["generateVideoResponse"]
        if not made.get("generatedSamples"):
            raise jobq.Permanent("refused", "Gemini refuses to show the video")
        return str(made["generatedSamples"][0]["video"]["uri"])

    async def cancel(self, operation: str, key: str) -> None:
        """Have an operation go no further."""
        await self._ask(f"{operation}:cancel", key, {})

    async def file(self, uri: str, key: str) -> AsyncIterator[bytes]:
        """The bytes of a file that Gemini has made."""
        async with self._http.stream("GET", uri, headers={"x-goog-api-key": key}) as answer:
            async for some in answer.raise_for_status().aiter_bytes():
                yield some

    async def _parts(
        self,
        model: str,
        given: list[dict[str, Any]],
        key: str,
        options: dict[str, Any],
        hear: Hear | None,
    ) -> list[dict[str, Any]]:
        body = {"contents": [{"parts": given}], "generationConfig": options}
        answer = await self._ask(f"models/{model}:generateContent", key, body)
        if hear is not None:
            await hear(model, answer)
        [candidate] = answer["candidates"]
        if candidate["finishReason"] != "STOP":
            raise jobq.Permanent("refused", f"Gemini refuses: {candidate['finishReason']}")
        return list(candidate["content"]["parts"])

    async def _ask(self, what: str, key: str, body: Any = None) -> dict[str, Any]:
        answer = await self._http.request(
            "GET" if body is None else "POST",
            f"/v1beta/{what}",
            headers={"x-goog-api-key": key},
            json=body,
        )
        return dict(answer.raise_for_status().json())
