"""How a plain HTTP client asks the fake provider."""

from __future__ import annotations

from typing import Any

import httpx

from examples.fakegemini import FakeGemini

START = 1_790_000_000.0
"""Some second in September 2026, at the start of none of its minutes."""


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def client(fake: FakeGemini, key: str = "k", **more: Any) -> httpx.Client:
    headers = {"x-goog-api-key": key, "x-api-key": key, "authorization": f"Bearer {key}"}
    headers["anthropic-version"] = "2023-06-01"
    return httpx.Client(base_url=fake.url, headers=headers, timeout=30, **more)


def content(
    http: httpx.Client, prompt: str = "a red door", *, model: str = "flash", **config: Any
) -> httpx.Response:
    body = {"contents": [{"parts": [{"text": prompt}]}], "generationConfig": config}
    return http.post(f"/v1beta/models/{model}:generateContent", json=body)


def picture(http: httpx.Client, prompt: str = "a red door", **config: Any) -> httpx.Response:
    return content(http, prompt, model="flash-image", **config)


def video(http: httpx.Client, prompt: str = "a red door", **parameters: Any) -> httpx.Response:
    body = {"instances": [{"prompt": prompt}], "parameters": parameters}
    return http.post("/v1beta/models/veo:predictLongRunning", json=body)


def images(http: httpx.Client, prompt: str = "a red door", **more: Any) -> httpx.Response:
    return http.post("/v1/images/generations", json={"model": "gpt", "prompt": prompt, **more})


def message(http: httpx.Client, prompt: str = "a red door", **more: Any) -> httpx.Response:
    body = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": prompt}]}
    return http.post("/v1/messages", json=body | more)


def details(response: httpx.Response) -> dict[str, dict[str, Any]]:
    """The details of Google's error, by the last word of their type."""
    found = response.json()["error"]["details"]
    return {one["@type"].rpartition(".")[2]: one for one in found}
