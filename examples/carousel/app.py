"""The app: jobs are made by `POST /api/jobs`, and run by whoever calls `/api/workers`."""

import os
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response

from examples.carousel.jobs import CarouselCreation, carousel_creation, customer, queue
from examples.carousel.reel import CarouselReel, carousel_reel
from jobq.contrib.fastapi import accepted, drive_router, jobs_router


async def current_user(x_user: Annotated[str | None, Header()] = None) -> str:
    if x_user is None:  # your own authentication goes here
        raise HTTPException(401)
    return x_user


development = os.environ.get("NODE_ENV") == "development"
jobs = jobs_router(queue, owner=current_user, allow=queue.router.types, drive=False)

app = FastAPI(debug=development)
app.include_router(jobs, prefix="/api/jobs")
app.include_router(drive_router(queue), prefix="/api/workers")  # has a secret of its own


@app.post("/api/wizard/{id}/submit", status_code=202)
async def submit(
    request: Request,
    id: str,
    payload: CarouselCreation,
    user: Annotated[str, Depends(current_user)],
) -> Response:
    """Make the carousel of a wizard, once however often the button is pressed."""
    key = f"wizard:{id}"
    job = await queue.enqueue(carousel_creation, payload, owner=user, idempotency_key=key)
    return accepted(request, job, queue=queue)  # in development, runs it right away


@app.post("/api/reels", status_code=202)
async def make_reel(
    request: Request, payload: CarouselReel, user: Annotated[str, Depends(current_user)]
) -> Response:
    """Make a reel, and tell the customer's own server when it has ended."""
    webhook = user if await customer(user) else None
    job = await queue.enqueue(carousel_reel, payload, owner=user, webhook=webhook)
    return accepted(request, job, queue=queue)
