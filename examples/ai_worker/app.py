"""The worker: `jobq worker examples.ai_worker.app:queue`, or scripts/run-local.sh."""

import os
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import jobq
from examples.gemini import Gemini

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite:///ai_worker.db")
FOLDER = Path(os.environ.get("IMAGES", "images"))
RPM = int(os.environ.get("GEMINI_RPM", "60"))

# Each worker has a key. All workers together are the pool; each key has its own limit.
keys = [key for key in [os.environ.get("GEMINI_API_KEY")] if key]
pool = jobq.KeyPool("gemini", keys=keys, limit=jobq.RateLimit("gemini:{key}", RPM, per=60))

queue = jobq.AsyncQueue(DATABASE_URL, lifespan=Gemini.connected)
'''
'''
