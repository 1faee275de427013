"""A page that creates jobs, polls them and follows their events, served by FastAPI or Django.

python -m uvicorn examples.browser_page.on_fastapi:app

python -m uvicorn examples.browser_page.on_django:application
python -m examples.browser_page.on_django jobq_worker

Jobs are in `browser_page.db`, or in the SQLite file or the PostgreSQL database that `DATABASE_URL`
names. On PostgreSQL, and with Django, `migrate` goes first: `jobq migrate
examples.browser_page.on_fastapi:queue`, or `python -m examples.browser_page.on_django migrate`.
"""

import os
from pathlib import Path

DATABASE_URL = os.environ.get("DATABASE_URL") or "sqlite:///browser_page.db"
PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
STREAM_SECONDS = 2.0
"""How long an event stream lasts: a short time, so that one sees the browser come back."""
