"""What the scripts of Python peers share. Only the standard library is imported here.

`python -m benchmarks.peers.NAME VERB URL …` with `migrate`, `enqueue N`, `enqueue_many N SECONDS`,
`pickups N` and `work FOLDER EXPECTED CONCURRENCY`; an answer is one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from benchmarks.tally import Tally

tally: Tally
Payload = dict[str, Any]


class Client(Protocol):
    """How an app uses a system."""

    def migrate(self) -> None: ...

    def enqueue(self, payload: Payload) -> None: ...

    def enqueue_many(self, payloads: list[Payload]) -> None: ...


def main(work: Callable[[str, int], None], client: Callable[[str], Client]) -> None:
    """Do what the command line says."""
    global tally  # noqa: PLW0603  handlers are found by name and take a payload only
    verb, url, *arguments = sys.argv[1:]
    if verb == "work":
        folder, expected, concurrency = arguments
        tally = Tally(folder, int(expected))
        threading.Thread(target=_end_with_input, daemon=True).start()
        work(url, int(concurrency))
        return
    print(json.dumps(VERBS[verb](client(url), *map(float, arguments))), flush=True)


def _end_with_input() -> None:
    """No worker outlives the harness."""
    while os.read(0, 1024):
        pass
    os._exit(1)


def _enqueue(client: Client, count: float) -> float:
    client.enqueue({"n": 1})
    started = time.perf_counter()
    for _ in range(int(count)):
        client.enqueue({"n": 1})
    return count / (time.perf_counter() - started)


def _enqueue_many(client: Client, count: float, seconds: float) -> float:
    payload = {"seconds": seconds} if seconds else {"n": 1}
    payloads = [payload] * int(count)
    started = time.perf_counter()
    client.enqueue_many(payloads)
    return count / (time.perf_counter() - started)


def _pickups(client: Client, count: float) -> list[float]:
    """When each enqueue returned."""
    returned = []
    for n in range(int(count)):
        time.sleep(0.05 + 0.01 * (n % 7))
        client.enqueue({"n": n})
        returned.append(time.time())
    return returned


VERBS: dict[str, Callable[..., Any]] = {
    "migrate": lambda client: client.migrate(),
    "enqueue": _enqueue,
    "enqueue_many": _enqueue_many,
    "pickups": _pickups,
}
