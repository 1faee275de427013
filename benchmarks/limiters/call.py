"""What the handlers of all contestants do: one request. Only the standard library is used."""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError

PROVIDER = "BENCH_PROVIDER"
SLOTS = 12
IMAGES, PERIOD = 60, 6.0
"""So many images in any so many seconds."""
TRIES = 5
MODELS = {"image": "gemini-image", "text": "gemini-text"}


def ask(kind: str, n: int) -> None:
    """Ask for an image or a text.

    Raises:
        HTTPError: the provider refused or failed.
    """
    contents = [{"parts": [{"text": f"{kind} {n}"}]}]
    wanted = {"contents": contents}
    request = urllib.request.Request(
        f"{os.environ[PROVIDER]}/v1beta/models/{MODELS[kind]}:generateContent",
        data=json.dumps(wanted).encode(),
        headers={"content-type": "application/json", "x-goog-api-key": "key"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def refused_for(error: HTTPError) -> float | None:
    """How long a 429 says to wait, in seconds; None for another answer."""
    if error.code != 429:
        return None
    details: list[dict[str, Any]] = json.loads(error.read())["error"].get("details", [])
    delays = [detail["retryDelay"] for detail in details if "retryDelay" in detail]
    return float(delays[0].rstrip("s")) if delays else 1.0


def main(
    work: Callable[[str], None], submitter: Callable[[str], Callable[[str, int], Any]]
) -> None:
    """Do what the command line says. No process outlives its standard input."""
    verb, store = sys.argv[1:]
    if verb == "work":
        threading.Thread(target=_end_with_input, daemon=True).start()
        work(store)
        return
    submit = submitter(store)
    for line in sys.stdin:
        kind, n = line.split()
        submit(kind, int(n))
        print(n, flush=True)
    os._exit(0)


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)
