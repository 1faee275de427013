"""The worker: `jobq worker examples.ai_worker.app:queue`, or scripts/run-local.sh.

Where images go is up to the environment (R2_…, or else a folder), and so is the database.
"""

import os
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import jobq
from examples.gemini import Gemini

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite:///ai_worker.db")
RPM = int(os.environ.get("GEMINI_RPM", "60"))

# Each worker has a key. All workers together are the pool, and each key has its own limit.
keys = [key for key in [os.environ.get("GEMINI_API_KEY")] if key]
pool = jobq.KeyPool("gemini", keys=keys, limit=jobq.RateLimit("gemini:{key}", RPM, per=60))

queue = jobq.AsyncQueue(DATABASE_URL, lifespan=Gemini.connected)

driver = "sqlite+aiosqlite:" if DATABASE_URL.startswith("sqlite") else "postgresql+psycopg:"
engine = create_async_engine(driver + DATABASE_URL.partition(":")[2])
tables = sa.MetaData()
images = sa.Table(
    "image",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner", sa.Text),
    sa.Column("prompt", sa.Text),
    sa.Column("url", sa.Text),
)


@dataclass
class ImageGeneration:
    prompt: str
    aspect_ratio: str = "1:1"


@jobq.handler("image_generation", limits=[pool], retry=jobq.Retry(max_attempts=3))
async def image_generation(payload: ImageGeneration, job: jobq.JobContext) -> None:
    await job.progress(10, "asking Gemini")
    gemini: Gemini = job.state
    data = await gemini.image(payload.prompt, job.key("gemini"), payload.aspect_ratio)
    await job.progress(80, "saving")
    image = await job.save(data, name="image.png")
    async with engine.begin() as connection:  # the row and "completed", or neither
        row = {"owner": job.owner, "prompt": payload.prompt, "url": image.url}
        await connection.execute(sa.insert(images).values(row))
        result = {"imageUrls": [image.url], "imageIds": [image.id]}
        await job.complete(result, connection=connection)
