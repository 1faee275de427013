"""Where messages go: an address, the secret that it knows, and what may be asked of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from ipaddress import ip_network
from urllib.parse import SplitResult, urlsplit

from attrs import field, frozen

from jobq._errors import ConfigurationError, OptionError
from jobq.webhooks._addresses import Network
from jobq.webhooks._signing import Secrets, keys_of

LONGEST_URL = 2000
LONGEST_TIMEOUT = 60.0
_PLAIN = re.compile(r"[!-~]+")


def _shown(url: str) -> str:
    """A path may be as good as a secret."""
    parts = urlsplit(url)
    return repr(f"{parts.scheme}://{parts.hostname}/…")


@frozen(kw_only=True)
class Webhook:
    """An endpoint for messages about jobs.

    - `url`: with `https`; `http` only where `allow` names the address that it leads to.
    - `secret`: what messages are signed with; several while it is being changed.
    - `allow`: addresses or networks ("127.0.0.1", "10.2.0.0/16") that may be called although they
      are not public. Without it a customer's URL can reach nothing inside of your network.
    - `timeout`: seconds for the whole exchange.

    Raises `ConfigurationError` where one of these cannot be used.

    >>> Webhook(url="https://example.com/hooks", secret=new_secret())  # doctest: +SKIP
    """

    url: str = field(repr=_shown)
    secret: Secrets = field(repr=False)
    allow: Sequence[str] = ()
    timeout: float = 15.0
    networks: tuple[Network, ...] = field(init=False, repr=False)
    parts: SplitResult = field(init=False, repr=False)

    @networks.default
    def _read_networks(self) -> tuple[Network, ...]:
        if isinstance(self.allow, str) or not isinstance(self.allow, Sequence):
            raise ConfigurationError(f"Webhook(allow={self.allow!r:.100}) must be a list")
        try:
            return tuple(ip_network(network) for network in self.allow)
        except ValueError as error:
            raise ConfigurationError(f"Webhook(allow=…): {error}") from None

    @parts.default
    def _read_url(self) -> SplitResult:
        if not isinstance(self.url, str) or len(self.url) > LONGEST_URL:
            raise ConfigurationError(
                f"Webhook(url=…) must be text of {LONGEST_URL} letters at most"
            )
        try:
            parts = urlsplit(self.url)
            sound = bool(_PLAIN.fullmatch(self.url) and parts.hostname and parts.port != 0)
        except ValueError:
            raise ConfigurationError("Webhook(url=…) is no URL") from None
        if not sound or parts.scheme not in ("https", "http"):
            raise ConfigurationError(
                "Webhook(url=…) must be an absolute https URL, in ASCII as browsers send it"
            )
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError(
                "Webhook(url=…) has a user or a password in it: messages are signed instead"
            )
        if parts.scheme == "http" and not self.allow:
            raise ConfigurationError(
                "Webhook(url=…) must be https: whoever is on the way could read the results. For "
                "development allow its address, as in allow=['127.0.0.1']"
            )
        return parts

    def __attrs_post_init__(self) -> None:
        try:
            keys_of(self.secret)
        except OptionError as error:
            raise ConfigurationError(f"Webhook(secret=…): {error}") from None
        timeout = self.timeout
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise ConfigurationError(f"Webhook(timeout={timeout!r:.100}) must be seconds")
        if not 0 < timeout <= LONGEST_TIMEOUT:
            raise ConfigurationError(
                f"Webhook(timeout={timeout!r}) must be above 0 and {LONGEST_TIMEOUT:g} s at most"
            )

    @property
    def port(self) -> int:
        """The port that it leads to."""
        return self.parts.port or (443 if self.parts.scheme == "https" else 80)

    @property
    def fingerprint(self) -> str:
        """Tells this URL from another without showing it."""
        return sha256(self.url.encode()).hexdigest()


@frozen(kw_only=True)
class WebhookInfo:
    """An endpoint that messages about jobs go to."""

    name: str
    known: bool
    """Whether this process has it in its `Queue(webhooks=…)`."""
    disabled_at: datetime | None = None
    """Since when it gets no messages: it answered 410."""
    reason: str | None = None
