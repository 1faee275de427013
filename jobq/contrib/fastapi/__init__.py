"""FastAPI: real routes with their models in OpenAPI, and a worker inside the app.

>>> app = FastAPI(lifespan=worker_lifespan(queue))
>>> app.include_router(jobs_router(queue, owner=current_user, allow=["image_edit"]), prefix="/jobs")
"""

from jobq.contrib import missing

try:
    from jobq.contrib.fastapi._router import (
        dashboard_router,
        drive_router,
        get_queue,
        jobs_router,
    )
    from jobq.contrib.starlette import accepted, dashboard_app, worker_lifespan
except ModuleNotFoundError as error:
    raise missing(error, "fastapi") from error

__all__ = [
    "accepted",
    "dashboard_app",
    "dashboard_router",
    "drive_router",
    "get_queue",
    "jobs_router",
    "worker_lifespan",
]
