"""Declare jobs whose enqueuer did not know their handler: check the payload, fill in options."""

from __future__ import annotations

from typing import Any

from jobq import backends
from jobq._config import Config
from jobq._enqueue import KEEP_AND_OWNER, check_webhook, limited_job, milliseconds
from jobq._errors import OptionError, PayloadError
from jobq._handler import Handler
from jobq._masking import mask
from jobq._payload import loads
from jobq.observe import logger


async def declare(
    store: backends.AsyncStore,
    config: Config,
    types: list[str],
) -> int:
    """Declare all jobs of these types that wait for it; how many may be claimed now."""
    declared = 0
    while new := await store.run(backends.ops.undeclared, types=types):
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        for job in new:
            handler = config.router.get(job.type)
            assert handler is not None
            try:
                good.append(_derived(config, job, handler))
            except PayloadError as error:
                bad.append(_refused(job, "invalid_payload", error))
            except Exception as error:  # noqa: BLE001  one job must not keep others from being run
                bad.append(_refused(job, "invalid_options", error))
        if good:
            ids = await store.run(backends.ops.declare, good)
            declared += len(ids)
            config.observers.jobs_changed("declare", ids)
        if bad:
            ids = await store.run(backends.ops.declare_refused, bad, keep=config.keep)
            config.observers.jobs_changed("refuse", ids)
        if len(new) < backends.ops.BATCH:
            break
    return declared


def _refused(job: Any, code: str, error: Exception) -> dict[str, Any]:
    logger.warning("job %s cannot be run: %s", job.id, error)
    return {"id": job.id, "error": mask(str(error))[:2000], "error_code": code}


def _derived(config: Config, job: Any, handler: Handler[Any, Any]) -> dict[str, Any]:
    """What the handler's defaults and the payload's check make of a job.

    An option that the enqueuer gave stays; `given` names those that look like the database's
    default. A plain INSERT leaves it out, and then the database's defaults count as not given.
    """
    given = set((job.given or "").split(","))
    payload = handler.codec.encode(handler.codec.decode(job.payload))
    queue = job.queue if "queue" in given or job.queue != "default" else handler.queue
    queue = queue or "default"
    priority = job.priority if "priority" in given or job.priority != 0 else handler.priority
    keep = None if handler.keep is None else handler.keep // 1_000_000
    keep_seconds = keep if job.keep_seconds is None else job.keep_seconds
    if keep_seconds == 0 and job.owner is not None:
        raise OptionError(KEEP_AND_OWNER)
    webhook = job.webhook or handler.webhook
    check_webhook(config, webhook, keep_seconds)
    limited = limited_job(
        handler,
        config.limits_of(handler, queue),
        queue=queue,
        payload=payload,
        owner=job.owner,
        metadata=job.metadata,
        costs=None if job.costs is None else loads(job.costs),
        moved="moved" in given,
    )
    timeout_ms = job.timeout_ms
    return {
        "id": job.id,
        "payload": payload,
        "queue": queue,
        "priority": priority or 0,
        "max_attempts": job.max_attempts or handler.retry.max_attempts,
        "timeout_ms": milliseconds(handler.timeout) if timeout_ms is None else timeout_ms,
        "keep_seconds": keep_seconds,
        "lane": limited.lane,
        "costs": limited.costs,
        "on_ambiguous": handler.on_ambiguous,
        "webhook": webhook,
    }
