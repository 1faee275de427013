"""FastAPI: real routes with their models in OpenAPI, and a worker inside the app.

>>> app = FastAPI(lifespan=worker_lifespan(queue))
>>> app.include_router(jobs_router(queue, owner=current_user, allow=["image_edit"]), prefix="/jobs")
"""

from jobq.contrib.fastapi._router import drive_router, get_queue, jobs_router
from jobq.contrib.starlette import accepted, worker_lifespan

__all__ = ["accepted", "drive_router", "get_queue", "jobs_router", "worker_lifespan"]
