"""A queue as an operator would meet it: jobs in every status, for pages that are looked at."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jobq
from jobq.backends import ops
from jobq.testing import FrozenClock, drain

IMAGES = Path(__file__).parents[2] / "examples" / "images"
PICTURES = ("dunes.jpg", "sea.jpg", "hills.jpg", "lights.jpg")
FAILURES = (
    ("publish_post", ConnectionError("could not reach the API of the social network")),
    ("extract_invoice", ValueError("the total is missing on page 2")),
    ("image_generation", PermissionError("the prompt was refused by the safety filter")),
)


class Scene:
    """Handlers, and the jobs that they were given."""

    def __init__(self, queue: jobq.Queue) -> None:
        self.queue = queue
        self.gate = threading.Event()
        self.failing = True
        self._declare(queue.router)

    def _declare(self, router: jobq.Router) -> None:
        once = jobq.Retry(max_attempts=1)
        rate = jobq.RateLimit("gemini:images", 60, per=60)
        quota = jobq.DailyQuota("gemini:day", 1_000)
        places = jobq.Concurrency("gpu", 2)

        @router.handler("image_edit", limits=[places])
        def image_edit(payload: dict[str, Any], job: jobq.SyncJobContext) -> dict[str, Any]:
            job.progress(payload.get("at", 40), payload.get("note", "upscaling tile 5 of 12"))
            self.gate.wait(600)
            return {"imageUrls": ["https://cdn.example.com/edits/7.png"], "imageIds": ["img_7"]}

        @router.handler("image_generation", limits=[quota], retry=once)
        def image_generation(payload: dict[str, Any], job: jobq.SyncJobContext) -> dict[str, Any]:
            self._fail("image_generation", payload)
            job.spend(usd="0.039", provider="gemini", model="flash-image", units={"images": 1})
            first = payload["seed"] % len(PICTURES)
            names = (PICTURES * 2)[first : first + 2]
            saved = [job.save(IMAGES / name, name=name) for name in names]
            return {"imageUrls": [one.url for one in saved], "imageIds": [one.id for one in saved]}

        @router.handler("publish_post", retry=once)
        def publish_post(payload: dict[str, Any]) -> str:
            self._fail("publish_post", payload)
            return "published"

        @router.handler("extract_invoice", retry=once)
        def extract_invoice(payload: dict[str, Any], job: jobq.SyncJobContext) -> dict[str, Any]:
            job.spend(usd="0.0042", provider="anthropic", model="haiku")
            self._fail("extract_invoice", payload)
            return {"total": "118.00", "currency": "EUR"}

        @router.handler("image_variation", limits=[rate])
        def image_variation(payload: dict[str, Any]) -> None: ...

        @router.handler("render_video")
        def render_video(payload: dict[str, Any], job: jobq.SyncJobContext) -> str:
            scenes = job.step("storyboard", lambda: ["harbour", "lighthouse", "open sea"])
            job.step("narration", lambda: {"voice": "anna", "seconds": 42})
            job.progress(60, f"{len(scenes)} scenes wait for approval")
            return str(job.wait_for_event(job.hook("approval")))

        router.cron("0 3 * * *", name="nightly-report", tz="Europe/Lisbon")(
            router.handler("report")(lambda payload: None)
        )
        router.cron("*/15 * * * *", name="refresh-feeds")(
            router.handler("feeds")(lambda payload: None)
        )

    def _fail(self, type: str, payload: dict[str, Any]) -> None:
        if self.failing and payload.get("bad"):
            raise dict(FAILURES)[type]

    def furnish(self) -> None:
        """Jobs in every status, some of them run."""
        for number in range(24):
            owner = f"user-{number % 5}"
            words = {"prompt": "a lighthouse at dusk, oil on canvas", "seed": number}
            self.queue.enqueue("image_generation", words, owner=owner, queue="images")
        for type, count in (("publish_post", 7), ("extract_invoice", 4), ("image_generation", 2)):
            for number in range(count):
                self.queue.enqueue(type, {"bad": True, "page": number, "api_key": "k-123456"})
        self.queue.enqueue("render_video", {"title": "A day at the harbour"}, owner="user-3")
        drain(self.queue)
        self.queue.enqueue("image_variation", {"source_image_id": "img_1"}, owner="user-3")
        self.queue.enqueue("publish_post", {"post": 12}, delay=timedelta(hours=2), owner="user-1")
        for number in range(3):
            self.queue.enqueue("transcribe", {"minutes": number}, owner="user-2")
        cancelled = self.queue.enqueue("publish_post", {"post": 13})
        self.queue.cancel(cancelled.id)
        until = datetime.now(UTC) + timedelta(minutes=40)
        self.queue.pause_limit("gemini:images", until=until, reason="429: quota exceeded")
        self.queue.pause("newsletter")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A worker, with two jobs that run until the block has ended."""
        payload = {
            "source_image_url": "https://cdn.example.com/uploads/harbour.jpg",
            "edit_prompt": "make it dusk, keep the boats",
        }
        for at, note in ((65, "upscaling tile 8 of 12"), (20, "removing the background")):
            self.queue.enqueue("image_edit", {**payload, "at": at, "note": note}, owner="user-4")
        self.queue.enqueue("image_edit", payload, owner="user-4", priority="batch")
        worker = jobq.Worker(self.queue, concurrency=6, label="worker-1", grace=10)
        try:
            async with worker.running():
                await self._has_begun()
                yield
                self.gate.set()
        finally:
            self.gate.set()

    async def _has_begun(self) -> None:
        while True:
            running = self.queue.list(status="processing").jobs
            if len(running) == 2 and all(job.progress for job in running):
                return
            await asyncio.sleep(0.05)

    def add_history(self) -> None:
        """What workers would have counted within the last hour."""
        clock = FrozenClock()
        with jobq.Queue(self.queue._config.url, clock=clock) as past:
            for minute in range(1, 60):
                clock.set(clock.time - timedelta(minutes=1))
                for row in _counts(minute):
                    past._store().run(ops.add_stats, "worker-1", [row])


def _counts(minute: int) -> Iterator[dict[str, Any]]:
    wave = 30 + minute * 7 % 19 + minute * 5 % 11 + (20 if 18 < minute < 33 else 0)
    outage = 9 if minute in (24, 25, 26) else 0
    for queue, type, share in (("images", "image_generation", 3), ("default", "feeds", 1)):
        yield {
            "queue": queue,
            "type": type,
            "completed": wave * share // 4,
            "failed": outage + (share if minute * 3 % 7 == 0 else 0),
            "retried": 0,
            "duration_ms": 9_000 * wave,
        }
