"""BullMQ on Redis; `bullmq.cjs` is what Node runs."""

from __future__ import annotations

TITLE = "BullMQ"
PACKAGES = ("bullmq@5",)
SCRIPT = "bullmq.cjs"
STORE = "redis"
SETTINGS = "`limiter: { max: 60, duration: 6000 }`, concurrency 12; `rateLimit(ms)` after a 429"
VARIANTS = {"": ""}
