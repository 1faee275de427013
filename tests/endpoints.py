"""An endpoint for webhooks: a real HTTP server that answers by script, and keeps what came."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str]]


class Endpoint:
    """`answers` are given one after the other; then it answers 204."""

    def __init__(self, url: str, port: int) -> None:
        self.url = url
        self.port = port
        self.answers: list[Answer | int] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.silent = threading.Event()
        """Set while requests get no answer at all."""
        self.silent.set()

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in self.requests]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]


@contextmanager
def endpoint(context: ssl.SSLContext | None = None) -> Iterator[Endpoint]:
    """A server on this machine, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            served.requests.append((self.path, headers, body))
            served.silent.wait()
            answer = served.answers.pop(0) if served.answers else 204
            status, extra = answer if isinstance(answer, tuple) else (answer, {})
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if context is None else "https"
    port = server.server_address[1]
    served = Endpoint(f"{scheme}://localhost:{port}/hooks?from=jobq", port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield served
    finally:
        served.silent.set()
        server.shutdown()
        thread.join()
        server.server_close()
