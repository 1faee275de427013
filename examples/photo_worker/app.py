"""The worker: one queue, one kind of job: `jobq worker examples.photo_worker.app:queue`.

`web` has what were two functions of Supabase: one enqueues, the other may be called by a scheduler.
"""

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

import jobq
from jobq.contrib.fastapi import drive_router

DATABASE_URL = os.environ["DATABASE_URL"]
GEMINI_URL = os.environ.get("GEMINI_URL", "https://generativelanguage.googleapis.com")
MODEL = os.environ.get("GEMINI_MODEL_NAME", "gemini-2.5-flash-image")
RPM = int(os.environ.get("GEMINI_RPM", "10"))
RPD = int(os.environ.get("GEMINI_RPD", "500"))

per_minute = jobq.RateLimit("gemini", RPM, per=60)
per_day = jobq.DailyQuota("gemini-day", RPD, tz="America/Los_Angeles")


@dataclass
class Clients:
    http: httpx.AsyncClient
    database: AsyncConnectionPool


@asynccontextmanager
async def clients() -> AsyncIterator[Clients]:
    """What all jobs of a worker share."""
    key = {"x-goog-api-key": os.environ["GEMINI_API_KEY"]}
    async with (
        httpx.AsyncClient(base_url=GEMINI_URL, headers=key, timeout=120) as http,
        AsyncConnectionPool(DATABASE_URL, min_size=1) as database,
    ):
        yield Clients(http, database)


queue = jobq.AsyncQueue(DATABASE_URL, lifespan=clients)


@dataclass
class Photo:
    prompt: str


@jobq.handler("photo_generation", limits=[per_minute, per_day], timeout=300)
async def photo_generation(payload: Photo, job: jobq.JobContext) -> None:
    clients: Clients = job.state
    body = {"contents": [{"parts": [{"text": payload.prompt}]}]}
    answer = await clients.http.post(f"/v1beta/models/{MODEL}:generateContent", json=body)
    image = image_of(answer.raise_for_status().json())
    async with clients.database.connection() as connection:  # the photo and "completed", or neither
        await connection.execute(
            "INSERT INTO photo (job_id, prompt, image) VALUES (%s, %s, %s)",
            [job.id, payload.prompt, image],
        )
        await job.complete(connection=connection)


def image_of(answer: dict[str, Any]) -> bytes:
    [candidate] = answer["candidates"]
    for part in candidate.get("content", {}).get("parts", []):
        if "inlineData" in part:
            return base64.b64decode(part["inlineData"]["data"])
    raise jobq.Permanent("no_image", f"no image came: {candidate['finishReason']}")


web = FastAPI()
web.include_router(drive_router(queue), prefix="/functions/v1/process-generation-queue")


@web.post("/functions/v1/generate-images")
async def generate_images(photos: list[Photo]) -> list[str]:
    made = await queue.enqueue_many((photo_generation, photo) for photo in photos)
    return [outcome.job.id for outcome in made if outcome.job]
