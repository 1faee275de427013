"""The handler behind the page: it takes its time to draw a poster."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

import jobq

STEPS = ["measuring", "sketching", "inking", "colouring", "framing"]


@dataclass(frozen=True)
class Poster:
    """The payload of a `poster` job."""

    words: str
    pause: float = 0.6
    """Seconds for each step, so that one can watch."""


@jobq.handler("poster", retry=jobq.Retry(max_attempts=2))
async def poster(payload: Poster, job: jobq.JobContext) -> dict[str, str]:
    if not payload.words.strip():
        raise jobq.Permanent("no_words", "a poster needs words")
    for number, step in enumerate(STEPS):
        await job.progress(100 * number / len(STEPS), step)
        await asyncio.sleep(payload.pause)
    return {"image": f"data:image/svg+xml,{quote(drawing(payload.words))}"}


def drawing(words: str) -> str:
    width = 40 + 18 * len(words)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="80">'
        f'<rect width="{width}" height="80" rx="8" fill="#234"/>'
        f'<text x="20" y="50" font-size="28" font-family="monospace" fill="#fed">'
        f"{escape(words)}</text></svg>"
    )
