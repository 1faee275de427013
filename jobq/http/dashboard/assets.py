"""What pages load: served by jobq itself, named by content, so that browsers keep it for good."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files

from attrs import frozen

from jobq.http.messages import Request, Response
from jobq.http.problems import Problem

KINDS = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
NAMES = ("theme.css", "dashboard.css", "screens.css", "dashboard.js", "icon.svg")


@frozen
class Asset:
    """A file, with the name that it is served under."""

    name: str
    kind: str
    content: bytes
    etag: str


@cache
def by_name() -> dict[str, Asset]:
    """The assets, by their own names."""
    return {name: _read(name) for name in NAMES}


def _read(name: str) -> Asset:
    content = files(__package__).joinpath("assets", name).read_bytes()
    digest = sha256(content).hexdigest()[:16]
    stem, _, kind = name.rpartition(".")
    return Asset(f"{stem}-{digest}.{kind}", KINDS[kind], content, f'"{digest}"')


@cache
def _by_served_name() -> dict[str, Asset]:
    return {asset.name: asset for asset in by_name().values()}


def respond(request: Request, name: str) -> Response:
    """An asset, or that the browser has it."""
    asset = _by_served_name().get(name)
    if asset is None:
        raise Problem(404, "not_found", "there is no such file")
    headers = {
        "content-type": asset.kind,
        "etag": asset.etag,
        "cache-control": "public, max-age=31536000, immutable",
        "x-content-type-options": "nosniff",
    }
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status=304, headers=headers)
    return Response(status=200, headers=headers, body=asset.content)
