"""The queue, its jobs and the images: `jobq worker examples.scenergy_studio.app:queue`."""

import os
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import jobq
from examples.gemini import Gemini

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite:///studio.db")
RPM = int(os.environ.get("GEMINI_RPM", "60"))

queue = jobq.AsyncQueue(DATABASE_URL, lifespan=Gemini.connected)

# GOOGLE_AI_STUDIO_API_KEY=project=key,project=key: limits are the projects', not the keys'.
pairs = os.environ.get("GOOGLE_AI_STUDIO_API_KEY", "").split(",")
named = {f"key-{n}": pair.partition("=") for n, pair in enumerate(filter(None, pairs), 1)}
pool = jobq.KeyPool(
    "gemini",
    keys={name: secret for name, (_, _, secret) in named.items()},
    projects={name: project for name, (project, _, _) in named.items()},
    limit=jobq.RateLimit("gemini:{project}", RPM, per=60),
)
texts = jobq.RateLimit("gemini-texts", 1000, per=60)


class Payload(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Settings(Payload):
    aspect_ratio: str = "1:1"


class ImageGeneration(Payload):
    client_id: str
    product_ids: list[str]
    prompt: str
    settings: Settings = Settings()


class ImageEdit(Payload):
    client_id: str
    source_image_url: str
    edit_prompt: str


class Description(Payload):
    product_id: str


class Base(DeclarativeBase):
    pass


class GeneratedImage(Base):
    __tablename__ = "generated_image"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    client_id: Mapped[str]
    prompt: Mapped[str]
    url: Mapped[str]


driver = "sqlite+aiosqlite:" if DATABASE_URL.startswith("sqlite") else "postgresql+psycopg:"
engine = create_async_engine(driver + DATABASE_URL.partition(":")[2])


@jobq.handler("image_generation", limits=[pool])
async def image_generation(payload: ImageGeneration, job: jobq.JobContext) -> None:
    await job.progress(10, "painting")
    gemini: Gemini = job.state
    ratio = payload.settings.aspect_ratio
    data = await gemini.image(payload.prompt, job.key("gemini"), ratio)
    await save_generated_image(job, data, payload.client_id, payload.prompt)


@jobq.handler("image_edit", limits=[pool])
async def image_edit(payload: ImageEdit, job: jobq.JobContext) -> None:
    async with httpx.AsyncClient(timeout=30) as http:
        source = (await http.get(payload.source_image_url)).raise_for_status().content
    gemini: Gemini = job.state
    data = await gemini.image(payload.edit_prompt, job.key("gemini"), source=source)
    await save_generated_image(job, data, payload.client_id, payload.edit_prompt)


@jobq.handler("description", limits=[texts])
async def description(payload: Description, job: jobq.JobContext) -> dict[str, Any]:
    gemini: Gemini = job.state
    key = os.environ["GOOGLE_AI_STUDIO_API_KEY"].rpartition("=")[2]
    return {"text": await gemini.text(f"Describe product {payload.product_id}.", key)}


async def save_generated_image(
    job: jobq.JobContext, data: bytes, client_id: str, prompt: str
) -> None:
    """The file to R2; then its row and the job's outcome, in one transaction."""
    await job.progress(80, "saving")
    image = await job.save(data, name="image.png")
    url = image.url or ""
    async with AsyncSession(engine) as session, session.begin():
        session.add(GeneratedImage(id=image.id, client_id=client_id, prompt=prompt, url=url))
        await job.complete({"imageUrls": [url], "imageIds": [image.id]}, session=session)
