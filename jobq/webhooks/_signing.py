"""Sign and verify as Standard Webhooks 1.0 says, with secrets that both sides know."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from jobq._errors import OptionError, WebhookError

PREFIX = "whsec_"
TOLERANCE = 300
"""How many seconds a message may be old, or ahead of our clock."""
SHORTEST = 16
"""Bytes of a secret."""
_ID = re.compile(r"[!-\-/-~]{1,200}")
"""Visible ASCII without a full stop, which is what separates the parts that are signed."""
_TIMESTAMP = re.compile(r"[0-9]{1,11}")

Secret = str | bytes
Secrets = Secret | Sequence[Secret]


@frozen
class Received:
    """A message whose signature is good.

    The same `id` comes again when a delivery is repeated: keep it, and do nothing the second time.
    """

    id: str
    sent_at: datetime


def new_secret() -> str:
    """A new secret: 32 random bytes, written as both sides expect it.

    >>> new_secret().startswith("whsec_")
    True
    """
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def keys_of(secret: Secrets) -> tuple[bytes, ...]:
    """The keys of one secret, or of several during a rotation. Errors never show a secret."""
    single = isinstance(secret, str | bytes) or not isinstance(secret, Sequence)
    several: Sequence[Any] = (secret,) if single else secret
    if not several:
        raise OptionError("a webhook needs a secret; jobq.webhooks.new_secret() makes one")
    return tuple(map(_key, several))


def _key(secret: Secret) -> bytes:
    if isinstance(secret, str):
        text = secret.removeprefix(PREFIX).rstrip("=")
        try:
            secret = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise OptionError(
                "a webhook's secret must be 'whsec_' and base64, as new_secret() makes it"
            ) from None
    if not isinstance(secret, bytes):
        raise OptionError(f"a webhook's secret is text or bytes, not {type(secret).__name__}")
    if len(secret) < SHORTEST:
        raise OptionError(
            f"a webhook's secret of {len(secret)} bytes is too short to be one: it takes at least "
            f"{SHORTEST}; jobq.webhooks.new_secret() makes a good one"
        )
    return secret


def sign(id: str, timestamp: int, body: bytes | str, secret: Secrets) -> str:
    """The `webhook-signature` of a message: one signature for each secret.

    `id` tells one message from another and stays when it is sent again, `timestamp` is when it is
    sent, in whole seconds since 1970. Raises `OptionError` where one of them cannot be signed.

    >>> sign("msg_1", 1700000000, b"{}", b"an example of a secret")
    'v1,gVirBFdeWAbXe4zmvwpVfQ0J/SuOO8SsFR7heWHDty0='
    """
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise OptionError(
            f"{id!r:.250} is no id of a webhook message: 1 to 200 visible ASCII letters without '.'"
        )
    if isinstance(timestamp, bool) or not isinstance(timestamp, int) or timestamp < 0:
        raise OptionError(f"timestamp={timestamp!r:.100} must be whole seconds since 1970")
    content = _content(id, str(timestamp), body)
    signatures = (base64.b64encode(_digest(key, content)).decode() for key in keys_of(secret))
    return " ".join(f"v1,{signature}" for signature in signatures)


def verify(
    headers: Mapping[str, str],
    body: bytes | str,
    secret: Secrets,
    *,
    now: float | datetime | None = None,
    tolerance: float = TOLERANCE,
) -> Received:
    """Check a message that came in, and return its id and when it was sent.

    - `headers` of the request: `webhook-id`, `webhook-timestamp` and `webhook-signature` count.
    - `body` is what arrived, byte for byte: not parsed and written again.
    - `secret` is the sender's, or several of them while it is being changed.
    - `now` is this process's time unless given: an aware datetime, or seconds since 1970.
    - `tolerance` is how many seconds the message may be old, or ahead of our clock.

    Raises `WebhookError` where the message is not to be trusted. Whether its id came before is for
    the caller to look up: a repeated delivery has a good signature too.

    >>> headers = {"webhook-id": "msg_1", "webhook-timestamp": "1700000000"}
    >>> headers["webhook-signature"] = sign("msg_1", 1700000000, b"{}", b"an example of a secret")
    >>> verify(headers, b"{}", b"an example of a secret", now=1700000060).id
    'msg_1'
    """
    keys = keys_of(secret)
    id, timestamp, signatures = _read(headers)
    _check_age(int(timestamp), now, tolerance)
    content = _content(id, timestamp, body)
    if not _matches([_digest(key, content) for key in keys], _signatures(signatures)):
        raise WebhookError("bad_signature", "no signature of this webhook message is good")
    return Received(id, datetime.fromtimestamp(int(timestamp), UTC))


def _read(headers: Mapping[str, str]) -> tuple[str, str, str]:
    found = {str(name).lower(): value for name, value in headers.items()}
    values = []
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        value = found.get(name)
        if not isinstance(value, str) or not value:
            raise WebhookError("missing_header", f"a webhook message needs the header {name}")
        values.append(value)
    id, timestamp, signatures = values
    if not _ID.fullmatch(id):
        raise WebhookError("bad_id", f"webhook-id {id!r:.250} is no id of a message")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise WebhookError(
            "bad_timestamp", f"webhook-timestamp {timestamp!r:.50} is no time in seconds since 1970"
        )
    return id, timestamp, signatures


def _check_age(sent: int, now: float | datetime | None, tolerance: float) -> None:
    if isinstance(now, datetime):
        if now.utcoffset() is None:
            raise OptionError(f"now={now!r} has no time zone; use datetime.now(UTC)")
        now = now.timestamp()
    age = (time.time() if now is None else now) - sent
    if age > tolerance:
        raise WebhookError("too_old", f"this webhook message was sent {age:.0f} s ago")
    if not age >= -tolerance:
        raise WebhookError("too_new", f"this webhook message is {-age:.0f} s ahead of our clock")


def _content(id: str, timestamp: str, body: bytes | str) -> bytes:
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes | bytearray | memoryview):
        raise OptionError(
            f"body must be the bytes that are sent or that came, not {type(body).__name__}: a "
            f"signature is about bytes"
        )
    return b"%s.%s.%s" % (id.encode(), timestamp.encode(), body)


def _digest(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, "sha256")


def _signatures(header: str) -> Iterable[bytes]:
    """The signatures of version 1; what is not one may be of a version to come."""
    for part in header.split(" "):
        version, _, signature = part.partition(",")
        if version == "v1":
            try:
                yield base64.b64decode(signature, validate=True)
            except (binascii.Error, ValueError):
                continue


def _matches(wanted: Sequence[bytes], given: Iterable[bytes]) -> bool:
    """Whether any is given that is wanted. All are compared, so that the time tells nothing."""
    found = False
    for signature in given:
        for digest in wanted:
            found |= hmac.compare_digest(digest, signature)
    return found
