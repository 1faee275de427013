"""The jobs under test, and the worker that runs them: `python -m tests.paid.app`.

A job's `fault` says when its worker is struck, once: `{"signal", "where", "at"}`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx

import jobq

IMAGES = 6
CALLS = 1 + IMAGES + 1
"""What a whole job is billed for: a script, the images, a video. The upload is its own."""
PACE = 10
"""Videos that may be begun in `WINDOW` seconds."""
WINDOW = 6.0
EVERY = 1.0
router = jobq.Router()


class Studio:
    """A provider's client that strikes its own worker where the job says."""

    def __init__(self, payload: dict[str, Any], job: jobq.JobContext) -> None:
        self.payload = payload
        self.http = job.state
        self.key = {"x-goog-api-key": payload["key"]}
        self.done = Path(os.environ["PAID_FOLDER"]) / job.id

    def is_struck(self, where: str, at: str) -> str | None:
        """The signal for this moment, the first time it comes."""
        fault = self.payload.get("fault") or {}
        if (fault.get("where"), fault.get("at")) != (where, at) or self.done.exists():
            return None
        self.done.touch()
        return str(fault["signal"])

    def strike(self, where: str, at: str) -> str | None:
        found = self.is_struck(where, at)
        if found == "KILL":
            os.kill(os.getpid(), signal.SIGKILL)
        elif found is not None:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    async def ask(self, at: str, model: str, method: str, body: dict[str, Any]) -> Any:
        """A paid request. Killed, it is when the provider has answered; stopped, before."""
        struck = self.is_struck("inside", at)
        if struck in ("TERM", "SLOW"):
            os.kill(os.getpid(), signal.SIGTERM)
        url = f"/v1beta/models/{model}:{method}"
        answer = (await self.http.post(url, json=body, headers=self.key)).raise_for_status().json()
        if struck == "KILL":
            os.kill(os.getpid(), signal.SIGKILL)
        if struck == "SLOW":
            await asyncio.Event().wait()  # longer than any grace
        return answer

    async def script(self, topic: str) -> str:
        body = {"contents": [{"parts": [{"text": topic}]}]}
        answer = await self.ask("script", "flash", "generateContent", body)
        return str(answer["candidates"][0]["content"]["parts"][0]["text"])

    async def image(self, script: str, n: int) -> str:
        body = {"contents": [{"parts": [{"text": f"scene {n} of {script}"}]}]}
        await self.ask(f"image:{n}", "flash-image", "generateContent", body)
        return f"{n}.png"

    async def video(self, images: list[str]) -> str:
        body = {"instances": [{"prompt": " ".join(images)}], "parameters": {}}
        answer = await self.ask("video", "veo", "predictLongRunning", body)
        return str(answer["name"])

    async def look(self, operation: str) -> dict[str, Any] | None:
        self.strike("inside", "wait")
        answer = await self.http.get(f"/v1beta/{operation}", headers=self.key)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found if found.get("done") else None

    async def upload(self, operation: str) -> str:
        self.strike("inside", "upload")
        return f"https://example.com/{operation}.mp4"


@router.handler("reel")
async def reel(payload: dict[str, Any], job: jobq.JobContext) -> str:
    """Eight paid calls, a wait and an upload."""
    studio = Studio(payload, job)
    script = await job.step("script", studio.script, payload["key"])
    studio.strike("after", "script")
    images = []
    for n in range(IMAGES):
        images.append(await job.step(f"image:{n}", studio.image, script, n))
        studio.strike("after", f"image:{n}")
    operation = await job.step("video", studio.video, images)
    studio.strike("after", "video")
    await job.wait("made", operation, poll=studio.look, every=0.3, timeout=120)
    studio.strike("after", "wait")
    url = await job.step("upload", studio.upload, operation)
    studio.strike("after", "upload")
    return url


@router.handler("clip", limits=[jobq.RateLimit("veo", PACE, per=WINDOW)])
async def clip(payload: dict[str, Any], job: jobq.JobContext) -> None:
    """A video alone."""
    studio = Studio(payload, job)
    operation = await job.step("video", studio.video, [job.id])
    await job.wait("made", operation, poll=studio.look, every=EVERY, timeout=120)


def queue_of(url: str, provider: str) -> jobq.AsyncQueue:
    """The queue of a worker."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def lifespan() -> Any:
        async with httpx.AsyncClient(base_url=provider, timeout=60) as http:
            yield http

    return jobq.AsyncQueue(url, router=router, lifespan=lifespan)


async def main(url: str, provider: str, slots: str, grace: str) -> None:
    queue = queue_of(url, provider)
    worker = jobq.Worker(queue, concurrency=int(slots), lease=2.0, grace=float(grace))
    await worker.run()
    await queue.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
