"""Whether the request that was refused had a key with it at all."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jobq._classify.chain import chain, peek
from jobq._classify.evidence import pairs

_MAY_PROVE = re.compile(r"(?i)auth|key|token|secret|signature|cookie")
"""Headers by which a caller may prove who he is."""


def without_key(exception: BaseException, secrets: Iterable[str]) -> bool:
    """Whether a request is known that had neither one of these with it nor anything like it.

    Then no key was refused: it was another call of the handler, such as one for a picture.
    """
    for link in chain(exception, set()):
        for holder in (link.exception, peek(link.exception, "response")):
            request = peek(holder, "request")
            if peek(request, "url") is not None:
                return _is_without(request, secrets)
    return False


def _is_without(request: object, secrets: Iterable[str]) -> bool:
    if any(_MAY_PROVE.search(name) for name, _ in pairs(peek(request, "headers"))):
        return False
    content = peek(request, "content") or peek(request, "body") or b""
    if not isinstance(content, bytes | str):
        return False
    text = content.decode("latin-1") if isinstance(content, bytes) else content
    whole = f"{peek(request, 'url')}\n{text}"
    return not any(secret in whole for secret in secrets)
