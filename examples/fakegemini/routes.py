"""Which request asks for what."""

from __future__ import annotations

import re
from typing import NamedTuple

from examples.fakegemini.apis import Api
from examples.fakegemini.gemini import Gemini
from examples.fakegemini.images_api import Images
from examples.fakegemini.messages_api import Messages

_GEMINI, _IMAGES, _MESSAGES = Gemini(), Images(), Messages()
_VERSION = r"/v1(?:alpha|beta)?"
_TABLE: list[tuple[str, str, str, Api]] = [
    ("POST", rf"{_VERSION}/models/(?P<model>[^/:]+):generateContent", "generateContent", _GEMINI),
    (
        "POST",
        rf"{_VERSION}/models/(?P<model>[^/:]+):predictLongRunning",
        "predictLongRunning",
        _GEMINI,
    ),
    (
        "GET",
        rf"{_VERSION}/(?P<name>models/(?P<model>[^/]+)/operations/[^/:]+)",
        "getOperation",
        _GEMINI,
    ),
    (
        "POST",
        rf"{_VERSION}/(?P<name>models/(?P<model>[^/]+)/operations/[^/:]+):cancel",
        "cancelOperation",
        _GEMINI,
    ),
    # The SDK takes an address that isn't https for a file's name, and puts it behind `files/`.
    ("GET", rf"{_VERSION}/(?:.*/)?files/(?P<name>[a-z0-9]+):download", "download", _GEMINI),
    ("POST", r"(?:/v1)?/images/generations", "images", _IMAGES),
    ("POST", r"/v1/messages", "messages", _MESSAGES),
]
_ROUTES = [(method, re.compile(path), name, api) for method, path, name, api in _TABLE]


class Found(NamedTuple):
    """What a request asks for; `model` and `name` are empty where the path has none."""

    endpoint: str
    api: Api
    model: str = ""
    name: str = ""


def find(method: str, path: str) -> Found:
    """The route of a request; its endpoint is `unknown` if there is none."""
    for wanted, pattern, endpoint, api in _ROUTES:
        if wanted == method and (match := pattern.fullmatch(path)):
            return Found(endpoint, api, **match.groupdict())
    return Found("unknown", _GEMINI)
