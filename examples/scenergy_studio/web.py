"""The API routes, and a page that polls."""

from pathlib import Path
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import FileResponse

from examples.scenergy_studio.app import (
    ImageEdit,
    ImageGeneration,
    image_edit,
    image_generation,
    queue,
)
from jobq.contrib.fastapi import accepted, jobs_router

Priority = Literal["urgent", "normal", "batch"]


async def current_user(x_user: Annotated[str | None, Header()] = None) -> str:
    if x_user is None:  # your own authentication goes here
        raise HTTPException(401)
    return x_user


User = Annotated[str, Depends(current_user)]
app = FastAPI()
app.include_router(
    jobs_router(queue, owner=current_user, allow=["description"]), prefix="/api/jobs"
)


@app.get("/")
async def page() -> FileResponse:
    return FileResponse(Path(__file__).with_name("page.html"))


@app.post("/api/generate-images", status_code=202)
async def generate_images(
    request: Request, payload: ImageGeneration, user: User, priority: Priority = "normal"
) -> Response:
    job = await queue.enqueue(image_generation, payload, priority=priority, owner=user)
    return accepted(request, job)


@app.post("/api/edit-image", status_code=202)
async def edit_image(
    request: Request, payload: ImageEdit, user: User, priority: Priority = "normal"
) -> Response:
    job = await queue.enqueue(image_edit, payload, priority=priority, owner=user)
    return accepted(request, job)
