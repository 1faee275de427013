"""What tells jobs that something has come that they wait for: hooks, and providers' webhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from jobq import _event_verbs as event_verbs
from jobq import webhooks
from jobq._checks import short_text
from jobq._errors import ConfigurationError, OptionError, PayloadError
from jobq._masking import hide
from jobq.http import reading
from jobq.http.messages import answer
from jobq.http.problems import not_found
from jobq.http.shapes import ResumedView
from jobq.http.steps import Ask, Operation

if TYPE_CHECKING:
    from jobq.http.operations import Call


def identified(payload: Any) -> Any:
    """The id that an event is about: `data.id`, or else `id`."""
    if not isinstance(payload, Mapping):
        return None
    data = payload.get("data")
    return data["id"] if isinstance(data, Mapping) and "id" in data else payload.get("id")


@frozen
class ProviderWebhook:
    """How a provider's webhooks (Standard Webhooks) are verified, and what they are about.

    - `secret`: what it signs with, `whsec_…`; several of them while it is being changed.
    - `reference`: a function of an event's JSON that gives the provider's id of the work, which a
      job waits for with `job.wait(…, id, webhook=name)`; by default `data.id`, or else `id`.

    >>> webhook = ProviderWebhook("whsec_…", reference=lambda event: event["prediction"]["id"])
    """

    secret: str | bytes | Sequence[str | bytes] = field(repr=False)
    reference: Callable[[Any], Any] = field(default=identified, kw_only=True)

    def __attrs_post_init__(self) -> None:
        try:
            webhooks.sign("check", 0, b"", self.secret)
        except OptionError as error:
            raise ConfigurationError(str(error)) from None
        several = [self.secret] if isinstance(self.secret, str | bytes) else self.secret
        hide(secret for secret in several if isinstance(secret, str))


def providers(given: object) -> dict[str, ProviderWebhook]:
    """The option `webhooks`, checked; a secret alone will do."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"webhooks must be {{name: ProviderWebhook(…)}}, not a {type(given).__name__}"
        )
    known = {}
    for name, one in given.items():
        if not isinstance(name, str) or not name.isidentifier() or name == event_verbs.HOOK:
            raise ConfigurationError(f"webhooks: {name!r} is no name of a provider, as in 'openai'")
        known[name] = one if isinstance(one, ProviderWebhook) else ProviderWebhook(one)
    return known


def hook(call: Call) -> Operation:
    """An event for a hook of a job: whoever has its token may send it."""
    payload = reading.json_of(call.request, largest=call.api.config.bounds.step)
    try:
        resumed = yield Ask(event_verbs.send_event, call.id, payload, None, None)
    except (OptionError, PayloadError) as error:
        raise reading.invalid(str(error)) from None
    if not resumed:
        raise not_found(call.id, "hook")
    return answer(ResumedView(resumed=True), status=202)


def webhook(call: Call) -> Operation:
    """An event of a provider: only if its signature is good, and new."""
    provider = call.api.webhooks.get(call.id)
    if provider is None:
        raise not_found(call.id, "webhook")
    body = call.request.body
    reading.check_size(call.request, largest=call.api.config.bounds.payload)
    received = webhooks.verify(call.request.headers, body, provider.secret, now=call.now())
    reference = _reference(provider, reading.parsed(body))
    resumed = False
    if reference is not None:
        event = (reference, None, call.id, received.id)
        resumed = yield Ask(event_verbs.send_event, *event)
    return answer(ResumedView(resumed=resumed), status=200)


def _reference(provider: ProviderWebhook, payload: Any) -> str | None:
    """What an event is about; `None` where it is about nothing that a job could wait for."""
    try:
        return short_text(provider.reference(payload), "reference")
    except (OptionError, LookupError, TypeError, AttributeError):
        return None
