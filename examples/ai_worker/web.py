"""What a web app needs of it: enqueue, and ask how it goes."""

import os
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response

from examples.ai_worker.app import ImageGeneration, image_generation, queue
from jobq.contrib.fastapi import accepted, dashboard_router, jobs_router
from jobq.http.dashboard import Operator


async def current_user(x_user: Annotated[str | None, Header()] = None) -> str:
    if x_user is None:  # your own authentication goes here
        raise HTTPException(401)
    return x_user


async def operator(user: Annotated[str, Depends(current_user)]) -> Operator | None:
    return Operator(name=user) if user in os.environ.get("ADMINS", "").split(",") else None


app = FastAPI()
app.include_router(jobs_router(queue, owner=current_user), prefix="/api/jobs")
if os.environ.get("ENABLE_DASHBOARD") == "true":
    app.include_router(dashboard_router(queue, access=operator), prefix="/admin/queues")


@app.post("/api/generate-images", status_code=202)
async def generate_images(
    request: Request, payload: ImageGeneration, user: Annotated[str, Depends(current_user)]
) -> Response:
    job = await queue.enqueue(image_generation, payload, owner=user)
    return accepted(request, job)
