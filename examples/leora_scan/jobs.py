"""The jobs: each a payload and a function. jobq finds this module by its name."""

import base64
import os
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from django.db import connection, transaction

import jobq
from examples.leora_scan.models import Contact, ImageScan

claude = jobq.RateLimit("claude", int(os.environ.get("CLAUDE_RPM", "50")), per=60)
CARD = {"type": "object", "properties": {n: {"type": "string"} for n in ("name", "company")}}


@dataclass
class ImageExtraction:
    scan_id: int
    scan_type: Literal["business_card", "liquor_license"]


@jobq.handler("image_extraction", limits=[claude], retry=jobq.Retry(max_attempts=3))
def image_extraction(payload: ImageExtraction, job: jobq.SyncJobContext) -> None:
    scan = ImageScan.objects.get(pk=payload.scan_id)
    picture = {"type": "base64", "media_type": "image/jpeg", "data": _base64(scan.image)}
    text = f"Read this {payload.scan_type}: {scan.image.name}"
    card = ask([{"type": "image", "source": picture}, {"type": "text", "text": text}])
    with transaction.atomic():
        contact = Contact.objects.create(scan=scan, **card)
        ImageScan.objects.filter(pk=scan.pk).update(status="completed")
        job.complete({"contactId": contact.pk}, connection=connection)


@dataclass
class CustomerEnrichment:
    customer_id: str
    product_id: str | None = None


@jobq.handler("customer_enrichment", limits=[claude])
async def customer_enrichment(payload: CustomerEnrichment) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=60) as http:
        answer = await http.post(**_request(f"Who is customer {payload.customer_id}?"))
    return {"fields": _fields(answer)}


def ask(content: Any) -> dict[str, Any]:
    """What Claude reads, as the fields of a card."""
    return _fields(httpx.post(**_request(content), timeout=60))


def _request(content: Any) -> dict[str, Any]:
    tool = {"name": "card", "description": "Write the card down.", "input_schema": CARD}
    return {
        "url": os.environ.get("ANTHROPIC_URL", "https://api.anthropic.com") + "/v1/messages",
        "headers": {
            "x-api-key": os.environ["ANTHROPIC_API_KEY"],
            "anthropic-version": "2023-06-01",
        },
        "json": {
            "model": os.environ.get("ANTHROPIC_MODEL", "claude-haiku-4-5"),
            "max_tokens": 1024,
            "tools": [tool],
            "tool_choice": {"type": "tool", "name": "card"},
            "messages": [{"role": "user", "content": content}],
        },
    }


def _fields(answer: httpx.Response) -> dict[str, Any]:
    [used] = answer.raise_for_status().json()["content"]
    return dict(used["input"])


def _base64(file: Any) -> str:
    with file.open("rb"):
        return base64.b64encode(file.read()).decode()
