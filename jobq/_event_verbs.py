"""What a queue can do about jobs that wait for something outside; verbs as those of `_verbs`."""

from __future__ import annotations

from typing import Any

from jobq import backends
from jobq._checks import short_text
from jobq._config import Config
from jobq._enqueue_many import wake_all
from jobq._errors import OptionError
from jobq._payload import encode_json
from jobq._steps import Do
from jobq._verbs import Verb

HOOK = "hook"


def send_event(
    config: Config, token: Any, payload: Any, provider: str | None, event_id: str | None
) -> Verb[bool]:
    text = encode_json(payload, what="the event's payload")
    if len(text.encode()) > config.bounds.step:
        raise OptionError(
            f"an event of {len(text.encode())} bytes is more than the {config.bounds.step} "
            f"allowed; send an address of the data, or raise Queue(bounds=Bounds(step=…))"
        )
    delivery = yield Do(
        backends.ops.deliver_event,
        token=_address(token, provider),
        payload=text,
        event_id=short_text(event_id, "event_id"),
    )
    if delivery is None or not delivery.resumed:
        return False
    yield from wake_all(config, [delivery.queue])
    return True


def _address(token: Any, provider: str | None) -> str:
    if provider == HOOK:
        raise OptionError(f"{HOOK!r} is no name of a provider")
    found = short_text(token, "token")
    if found is None:
        raise OptionError("the token of a hook is text, not None")
    return f"{short_text(provider, 'provider', limit=50) or HOOK}:{found}"
