"""Send a message: to a public address, within a bounded time, and without being led elsewhere."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from ipaddress import IPv6Address, ip_address
from typing import Any

import anyio
from attrs import field, frozen

from jobq._classify.waits import asked_by_headers
from jobq._errors import ConfigurationError, JobqError
from jobq.webhooks._addresses import Address, is_allowed, is_public
from jobq.webhooks._endpoint import Webhook
from jobq.webhooks._signing import sign

TRIED = 4
"""How many addresses of a host are tried, where one after the other takes no connection."""


class Unreachable(JobqError):
    """No answer came."""


class Refused(JobqError):
    """The URL leads to where no message is sent."""


@frozen
class Answer:
    """What the endpoint said; `retry_after` in seconds, where it said so."""

    status: int
    retry_after: float | None = None


@cache
def client_library() -> Any:
    """The module httpx2 where it is installed, or else httpx."""
    for name in ("httpx2", "httpx"):
        with suppress(ImportError):
            return import_module(name)
    raise ConfigurationError(
        "webhooks are sent with httpx, which is not installed: pip install 'jobq[http]'"
    )


@cache
def _certificates() -> Any:
    """What certificates are checked with; to read them takes longer than to send a message."""
    return client_library().create_ssl_context(trust_env=False)


@frozen
class Message:
    """What is sent: the same for every address that is tried."""

    id: str
    body: bytes = field(repr=False)
    sent: int

    def headers(self, webhook: Webhook) -> dict[str, str]:
        """The headers of its request, with the signature."""
        return {
            "host": webhook.parts.netloc,
            "content-type": "application/json",
            "user-agent": "jobq",
            "webhook-id": self.id,
            "webhook-timestamp": str(self.sent),
            "webhook-signature": sign(self.id, self.sent, self.body, webhook.secret),
        }


async def post(webhook: Webhook, *, id: str, body: bytes, now: float | None = None) -> Answer:
    """Send a message, and say what the answer was. Any status is an answer.

    The host is looked up once, its addresses are checked, and the connection is made to one of
    them: what a name server says a moment later changes nothing. Raises `Refused` where an address
    is not public, and `Unreachable` where no answer comes within the time.
    """
    message = Message(id, body, int(time.time() if now is None else now))
    try:
        with anyio.fail_after(webhook.timeout):
            addresses = _permitted(webhook, await _look_up(webhook))
            return await _send(webhook, addresses, message)
    except TimeoutError:
        raise Unreachable(f"no answer came within {webhook.timeout:g} s") from None


async def _look_up(webhook: Webhook) -> list[Address]:
    host = webhook.parts.hostname or ""
    try:
        found = await anyio.getaddrinfo(host, webhook.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{host} has no address: {error}") from None
    addresses = [ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found]
    return list(dict.fromkeys(addresses))


def _permitted(webhook: Webhook, addresses: Sequence[Address]) -> Sequence[Address]:
    """All addresses, if all are to be trusted: one that is not says enough about the host."""
    encrypted = webhook.parts.scheme == "https"
    for address in addresses:
        if is_allowed(address, webhook.networks) or (encrypted and is_public(address)):
            continue
        what = "is not public" if encrypted else "was not allowed for http"
        raise Refused(
            f"{webhook.parts.hostname} leads to {address}, which {what}; if that is meant, "
            f"Webhook(allow=[…]) names it"
        )
    return addresses


async def _send(webhook: Webhook, addresses: Sequence[Address], message: Message) -> Answer:
    library = client_library()
    error: Exception | None = None
    # No proxy and no netrc of the environment: they would lead past the check of the address.
    options = {"trust_env": False, "timeout": webhook.timeout, "verify": _certificates()}
    async with library.AsyncClient(**options) as client:
        for address in addresses[:TRIED]:
            request = _request(client, webhook, address, message)
            try:
                return await _exchange(client, request)
            except (library.ConnectError, library.ConnectTimeout) as failed:
                error = failed
            except (library.HTTPError, library.InvalidURL) as failed:
                raise Unreachable(_text(failed)) from None
    raise Unreachable(_text(error)) from None


def _text(error: Exception | None) -> str:
    return f"no answer came ({type(error).__name__}: {error})"


def _request(client: Any, webhook: Webhook, address: Address, message: Message) -> Any:
    parts = webhook.parts
    host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return client.build_request(
        "POST",
        f"{parts.scheme}://{host}:{webhook.port}{path}",
        content=message.body,
        headers=message.headers(webhook),
        extensions={"sni_hostname": parts.hostname},
    )


async def _exchange(client: Any, request: Any) -> Answer:
    """Only the head of the answer is read: its body could be endless, or say what is inside."""
    response = await client.send(request, stream=True, follow_redirects=False)
    try:
        headers = {name.lower(): value for name, value in response.headers.items()}
        asked = max(asked_by_headers(headers, time.time()), default=None)
        return Answer(response.status_code, asked)
    finally:
        await response.aclose()
