"""A social network, offline: it publishes what it is sent, and may keep the answer to itself."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from examples.trial import Quiet, Served


class Network(Served):
    """`POST /posts` publishes, `GET /posts?reference=` finds; `posts` is what was published."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.silent = threading.Event()
        """While it is set, posts are published but not answered."""
        network = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/":
                    self._answer(b"<title>A page</title>", "text/html")
                    return
                [reference] = parse_qs(urlsplit(self.path).query)["reference"]
                found = [post for post in network.posts if post["reference"] == reference]
                self._answer(json.dumps(found).encode())

            def do_POST(self) -> None:
                post = json.loads(self.rfile.read(int(self.headers["content-length"])))
                network.posts.append(post | {"id": len(network.posts) + 1})
                if network.silent.is_set():
                    network.ended.wait()
                    return
                self._answer(json.dumps(network.posts[-1]).encode())

            def _answer(self, body: bytes, type: str = "application/json") -> None:
                self.send_response(200)
                self.send_header("content-type", type)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.ended = threading.Event()
        super().__init__(Handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.ended.set()
        super().__exit__(kind, error, traceback)
