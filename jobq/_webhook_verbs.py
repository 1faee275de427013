"""What a queue can do about webhooks; verbs as those of `_verbs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobq import backends
from jobq._checks import short_text
from jobq._config import Config
from jobq._errors import OptionError
from jobq._steps import Do
from jobq._verbs import Verb

if TYPE_CHECKING:
    from jobq.webhooks import WebhookInfo


def webhooks(config: Config) -> Verb[list[WebhookInfo]]:
    from jobq.webhooks import WebhookInfo

    disabled = yield Do(backends.ops.disabled_webhooks)
    names = [] if config.courier is None else config.courier.names or []
    found = {name: WebhookInfo(name=name, known=True) for name in names}
    for name, since, reason in disabled:
        known = name in names
        found[name] = WebhookInfo(name=name, known=known, disabled_at=since, reason=reason)
    return [found[name] for name in sorted(found)]


def enable_webhook(config: Config, name: Any) -> Verb[None]:  # noqa: ARG001  every verb takes it
    text = short_text(name, "name", limit=200)
    if text is None:
        raise OptionError("the name of a webhook is text, not None")
    if not (yield Do(backends.ops.enable_webhook, name=text)):
        raise OptionError(f"webhook {text!r} is not disabled; `jobq webhooks` lists those that are")
