"""The dashboard on its own: a small server for one operator, or a few behind passwords."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from jobq._errors import ConfigurationError
from jobq.http.dashboard.access import ACTIONS, Operator, admitted
from jobq.http.dashboard.api import Dashboard
from jobq.http.messages import Request, Response, Stream
from jobq.http.problems import Problem
from jobq.http.routes import Route
from jobq.http.steps import Steps
from jobq.observe import logger

DISCARDED = 1024 * 1024
"""Bytes of a form that is too large which are still read."""
NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""What this machine may be called in the address of a page that needs no password."""


class Local:
    """Whoever works on this machine; other sites cannot reach it under a name of theirs."""

    def __init__(self, *, read_only: bool = False) -> None:
        self._operator = Operator(name="local", may=() if read_only else ACTIONS)

    def decide(self, request: Request, action: str) -> Steps[Operator]:
        host = request.headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name.lower() not in NAMES:
            raise Problem(403, "forbidden", f"this dashboard is not called {host!r:.100}")
        return admitted(self._operator, action)
        yield  # a generator, as every policy


def is_local(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], dashboard: Dashboard) -> None:
        self.dashboard = dashboard
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "jobq"
    sys_version = ""
    timeout = 30

    def _answer(self) -> None:
        answer = _respond(self.server.dashboard, self._request())
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name != "content-length":
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = _answer  # noqa: N815  http.server's names

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        return Request(
            method=self.command,
            path=parts.path,
            query=parts.query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body(),
        )

    def _body(self) -> bytes:
        length = self.headers.get("content-length", "0")
        size = int(length) if length.isascii() and length.isdigit() else 0
        most = self.server.dashboard.largest_body
        kept = self.rfile.read(min(size, most + 1))
        if size > most or "transfer-encoding" in self.headers:
            self.close_connection = True  # what is left of it is no next request
            self.rfile.read(min(size - len(kept), DISCARDED))  # so that the client hears why
        return kept

    def log_message(self, format: str, *args: object) -> None:
        logger.debug("dashboard: " + format, *args)


def _respond(dashboard: Dashboard, request: Request) -> Response:
    route, parts = _match(dashboard, request.path)
    if route is None:
        return Response(status=404, headers={"content-type": "text/plain"}, body=b"not found")
    answer = dashboard.handle(route.path, request, **parts)
    if isinstance(answer, Stream):
        body = b"".join(dashboard.chunks(answer))
        return Response(status=answer.status, headers=answer.headers, body=body)
    return answer


def _match(dashboard: Dashboard, path: str) -> tuple[Route | None, dict[str, str]]:
    """The route of a path, and the parts of it; fixed paths come before others."""
    wanted = path.rstrip("/").split("/")
    for template, methods in dashboard.paths.items():
        names = template.split("/")
        if len(names) != len(wanted):
            continue
        pairs = list(zip(names, wanted, strict=True))
        if all(part if name.startswith("{") else name == part for name, part in pairs):
            parts = {n[1:-1]: unquote(part) for n, part in pairs if n.startswith("{")}
            return next(iter(methods.values())), parts
    return None, {}


@contextmanager
def serve(dashboard: Dashboard, host: str, port: int) -> Iterator[_Server]:
    """A server of a dashboard, listening; `serve_forever` answers, `server_port` is its port."""
    try:
        server = _Server((host, port), dashboard)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error}") from error
    with server:
        yield server
