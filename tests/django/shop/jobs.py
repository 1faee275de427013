"""Found by the app `jobq.contrib.django`, by its name."""

from __future__ import annotations

import threading
import time
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction

import jobq
from tests.django.shop.models import Order


@jobq.handler("shop.total")
def total(payload: dict[str, Any]) -> int:
    orders = Order.objects.using(payload["using"]).all()
    return sum(order.total for order in orders)


@jobq.handler("shop.total_async")
async def total_async(payload: dict[str, Any]) -> int:
    orders = Order.objects.using(payload["using"])
    return sum([order.total async for order in orders])


@jobq.handler("shop.deliver")
def deliver(payload: dict[str, Any], job: jobq.SyncJobContext) -> None:
    with transaction.atomic(using=payload["using"]):
        Order.objects.using(payload["using"]).create(total=payload["total"])
        job.complete({"delivered": True}, connection=connections[payload["using"]])
        if payload.get("fails"):
            raise RuntimeError("after the delivery")


@jobq.handler("shop.fail", retry=jobq.Retry(max_attempts=1))
def fail(payload: Any) -> None:
    raise ValueError("no <b>such</b> order")


@jobq.handler("shop.count_connections")
def count_connections(payload: Any) -> bool:
    """Whether this thread still has a connection from a job before."""
    had = connection.connection is not None
    connection.ensure_connection()
    return had


@jobq.handler("shop.slow")
def slow(payload: dict[str, Any]) -> None:
    time.sleep(payload["seconds"])


_meeting = threading.Barrier(2, timeout=20)


@jobq.handler("shop.meet")
async def meet(payload: Any) -> str:
    """Two jobs at a time come through, unless they stand in line for one thread."""
    await sync_to_async(_meeting.wait)()
    return "met"


@jobq.handler("shop.pay", budget=jobq.Budget(per_job=5))
def pay(payload: dict[str, Any], job: jobq.SyncJobContext) -> str:
    return str(job.spend(usd=payload["usd"], provider="bank").job)


@jobq.handler("shop.pay_async", budget=jobq.Budget(per_job=5))
async def pay_async(payload: dict[str, Any], job: jobq.JobContext) -> str:
    return str((await job.spend(usd=payload["usd"], provider="bank")).job)


@jobq.handler("shop.draw")
def draw(payload: dict[str, Any], job: jobq.SyncJobContext) -> str:
    return job.save(payload["text"].encode(), name="label.txt").sha256


@jobq.handler("shop.draw_async")
async def draw_async(payload: dict[str, Any], job: jobq.JobContext) -> str:
    return (await job.save(payload["text"].encode(), name="label.txt")).sha256


@jobq.handler("shop.frame")
def frame(payload: dict[str, Any], job: jobq.SyncJobContext) -> str:
    return job.step("draw", lambda: job.save(payload["text"].encode()).sha256)
