"""The fake provider, for every check."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.sdks.provider import Provider, running


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    with running() as provider:
        yield provider


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/nobody"
