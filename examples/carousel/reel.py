"""From a topic to a video: a script, six pictures and a film, each paid for once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import httpx

import jobq
from examples.carousel.jobs import KEY, RPM, finish, images, texts
from examples.gemini import IMAGES, VIDEOS, Gemini, Hear

SCENES = 6
PRICES = {IMAGES: Decimal("0.039"), VIDEOS: Decimal("0.40")}
TOKENS = {"promptTokenCount": Decimal("0.000001"), "candidatesTokenCount": Decimal("0.000004")}
videos = jobq.RateLimit("gemini-videos", RPM, per=60)


@dataclass
class CarouselReel:
    topic: str
    repaint: bool = True
    """Whether a picture is paid for again where nobody knows whether it was made."""


@jobq.handler(
    "carousel_reel",
    queue="reels",
    limits=[texts, images(SCENES), videos],
    retry=jobq.Retry(max_attempts=3, backoff=jobq.Fixed(1)),
)
async def carousel_reel(payload: CarouselReel, job: jobq.JobContext) -> None:
    """Eight paid calls, and minutes of waiting that hold no slot."""
    gemini: Gemini = job.state
    again: Any = "retry" if payload.repaint else "fail"
    script = await job.step("script", write, job, f"A reel about {payload.topic}")
    await job.progress(10, "painting")
    urls = []
    for scene in range(SCENES):
        prompt = f"Scene {scene} of a reel about {payload.topic}: {script}"
        urls.append(await job.step(f"scene:{scene}", paint, job, prompt, on_ambiguous=again))
        await job.partial(f"scene:{scene}", {"url": urls[-1]})
        await job.progress(10 * (scene + 2))
    operation = await job.step("film", film, job, f"A reel about {payload.topic}: {script}")
    await job.progress(80, "filming")
    uri = await job.wait(
        "filmed",
        operation,
        poll=partial(gemini.video, key=KEY),
        cancel=partial(gemini.cancel, key=KEY),
        every=1,
        timeout=900,
    )
    urls.append(await job.step("save", save, job, uri))
    await finish(job, payload.topic, urls)


async def write(job: jobq.JobContext, prompt: str) -> str:
    gemini: Gemini = job.state
    return await gemini.text(prompt, KEY, spending(job))


async def paint(job: jobq.JobContext, prompt: str) -> str:
    gemini: Gemini = job.state
    try:
        data = await gemini.image(prompt, KEY, "9:16", hear=spending(job))
    except (httpx.ReadError, httpx.RemoteProtocolError):  # it may have been made, and is billed
        await job.spend(usd=PRICES[IMAGES], provider="gemini", model=IMAGES)
        raise
    image = await job.save(data, name="scene.png")
    return image.url or f"artifact:{image.id}"


async def film(job: jobq.JobContext, prompt: str) -> str:
    gemini: Gemini = job.state
    return await gemini.begin_video(prompt, KEY, spending(job))


async def save(job: jobq.JobContext, uri: str) -> str:
    gemini: Gemini = job.state
    video = await job.save(gemini.file(uri, KEY), name="reel.mp4")
    return video.url or f"artifact:{video.id}"


def spending(job: jobq.JobContext) -> Hear:
    """Write down what each answer has cost."""

    async def hear(model: str, answer: dict[str, Any]) -> None:
        name = answer.get("responseId") or answer["name"]
        await job.spend(usd=price(model, answer), provider="gemini", model=model, request_id=name)

    return hear


def price(model: str, answer: dict[str, Any]) -> Decimal:
    """Pictures and films are paid by the piece, texts by their tokens."""
    if model in PRICES:
        return PRICES[model]
    used = answer["usageMetadata"]
    return sum((TOKENS[name] * used[name] for name in TOKENS), start=Decimal(0))
