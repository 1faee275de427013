"""Seven types of jobs, on one queue; an eighth is in `reel.py`."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import jobq
from examples.gemini import Gemini

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite:///carousel.db")
NETWORK = os.environ.get("NETWORK_URL", "https://graph.example.com")
KEY = os.environ.get("GEMINI_API_KEY", "")
RPM = int(os.environ.get("GEMINI_RPM", "60"))
ALLOW = os.environ.get("WEBHOOK_ALLOW", "").split()

driver = "sqlite+aiosqlite:" if DATABASE_URL.startswith("sqlite") else "postgresql+psycopg:"
engine = create_async_engine(driver + DATABASE_URL.partition(":")[2])
tables = sa.MetaData()
creations = sa.Table(
    "creation",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner", sa.Text),
    sa.Column("title", sa.Text),
    sa.Column("images", sa.JSON),
)
customers = sa.Table(
    "customer",
    tables,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("url", sa.Text),
    sa.Column("secret", sa.Text),
)


async def customer(name: str) -> jobq.Webhook | None:
    """Where somebody wants to be told what became of his jobs."""
    async with engine.connect() as connection:
        found = await connection.execute(sa.select(customers).where(customers.c.name == name))
        row = found.one_or_none()
    return jobq.Webhook(url=row.url, secret=row.secret, allow=ALLOW) if row else None


queue = jobq.AsyncQueue(DATABASE_URL, lifespan=Gemini.connected, webhooks=customer)
texts = jobq.RateLimit("gemini-texts", RPM, per=60)


def images(cost: Callable[[Any], int] | int) -> jobq.RateLimit:
    """One limit for all that paint; a job counts for as many as it makes."""
    return jobq.RateLimit("gemini-images", RPM, per=60, max_cost=10, cost=cost)


@dataclass
class Prompt:
    prompt: str


@dataclass
class CarouselCreation:
    topic: str
    slides: int = 6


@dataclass
class Post:
    caption: str
    images: list[str]


@dataclass
class ScheduledPublish:
    networks: list[str]
    post: Post


@dataclass
class Page:
    url: str


@jobq.handler("ai_text_generation", limits=[texts], per_owner=jobq.PerOwner(running=4))
async def ai_text_generation(payload: Prompt, job: jobq.JobContext) -> dict[str, str]:
    gemini: Gemini = job.state
    return {"text": await gemini.text(payload.prompt, KEY)}


@jobq.handler("ai_image_generation", limits=[images(1)])
async def ai_image_generation(payload: Prompt, job: jobq.JobContext) -> None:
    await finish(job, payload.prompt, [await paint(job, payload.prompt)])


@jobq.handler("carousel_creation", limits=[texts, images(lambda payload: payload.slides)])
async def carousel_creation(payload: CarouselCreation, job: jobq.JobContext) -> None:
    """A text and some images. What one attempt has made, the next one does not pay for again."""
    gemini: Gemini = job.state
    script = await job.step("script", gemini.text, f"A carousel about {payload.topic}", KEY)
    urls = []
    for slide in range(payload.slides):
        prompt = f"Slide {slide} about {payload.topic}: {script}"
        urls.append(await job.step(f"slide:{slide}", paint, job, prompt))
        await job.progress(100 * (slide + 1) / payload.slides)
    await finish(job, payload.topic, urls)


async def paint(job: jobq.JobContext, prompt: str) -> str:
    gemini: Gemini = job.state
    image = await job.save(await gemini.image(prompt, KEY), name="slide.png")
    return image.url or f"artifact:{image.id}"


async def finish(job: jobq.JobContext, title: str, urls: list[str]) -> None:
    """The app's row and the job's outcome: both, or neither."""
    async with engine.begin() as connection:
        row = {"owner": job.owner, "title": title, "images": urls}
        await connection.execute(sa.insert(creations).values(row))
        await job.complete({"imageUrls": urls}, connection=connection)


async def posted(payload: Post, job: jobq.JobContext) -> dict[str, Any] | None:
    """The post of an attempt that was cut off, if it came so far."""
    async with httpx.AsyncClient(timeout=30) as http:
        answer = await http.get(f"{NETWORK}/posts", params={"reference": job.id})
    found: list[dict[str, Any]] = answer.raise_for_status().json()
    return found[0] if found else None


async def publish(network: str, payload: Post, job: jobq.JobContext) -> dict[str, Any]:
    body = {"reference": job.id, "caption": payload.caption, "images": payload.images}
    async with httpx.AsyncClient(timeout=30) as http:
        answer = await http.post(f"{NETWORK}/posts", params={"network": network}, json=body)
    post: dict[str, Any] = answer.raise_for_status().json()
    return post


@jobq.handler("social_publish_instagram", on_ambiguous="verify", verify=posted)
async def social_publish_instagram(payload: Post, job: jobq.JobContext) -> dict[str, Any]:
    return await publish("instagram", payload, job)


@jobq.handler("social_publish_facebook", on_ambiguous="verify", verify=posted)
async def social_publish_facebook(payload: Post, job: jobq.JobContext) -> dict[str, Any]:
    return await publish("facebook", payload, job)


@jobq.handler("scheduled_publish")
async def scheduled_publish(payload: ScheduledPublish, job: jobq.JobContext) -> dict[str, Any]:
    """Enqueued with `scheduledFor`; a second attempt finds the jobs of the first."""
    made = {}
    for network in payload.networks:
        post = await queue.enqueue(
            f"social_publish_{network}",
            payload.post,
            owner=job.owner,
            idempotency_key=f"{job.id}:{network}",
        )
        made[network] = post.id
    return {"jobIds": made}


@jobq.handler("web_scraping", retry=jobq.Retry(max_attempts=5))
async def web_scraping(payload: Page) -> dict[str, str]:
    async with httpx.AsyncClient(timeout=30, follow_redirects=True) as http:
        page = (await http.get(payload.url)).raise_for_status().text
    title = re.search(r"<title>(.*?)</title>", page, re.DOTALL)
    return {"title": title[1].strip() if title else ""}
