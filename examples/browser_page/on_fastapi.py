"""The page with FastAPI, and a worker inside the app."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

from fastapi import Cookie, FastAPI
from fastapi.responses import HTMLResponse

import jobq
from examples.browser_page import DATABASE_URL, PAGE, STREAM_SECONDS
from examples.browser_page.jobs import poster
from jobq.contrib.fastapi import jobs_router, worker_lifespan

queue = jobq.AsyncQueue(DATABASE_URL)


def current_visitor(visitor: Annotated[str | None, Cookie()] = None) -> str | None:
    return visitor


app = FastAPI(lifespan=worker_lifespan(queue))
routes = jobs_router(
    queue, owner=current_visitor, allow=[poster], longest_stream=STREAM_SECONDS, drive=False
)
app.include_router(routes, prefix="/jobs")


@app.get("/")
def page(visitor: Annotated[str | None, Cookie()] = None) -> HTMLResponse:
    answer = HTMLResponse(PAGE)
    answer.set_cookie("visitor", visitor or uuid4().hex, httponly=True, samesite="strict")
    return answer
