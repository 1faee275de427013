"""The one cookie of the dashboard: a token against forged forms, a theme, and what was done."""

from __future__ import annotations

import secrets
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import evolve, field, frozen

from jobq.http.messages import Request
from jobq.http.problems import Problem

NAME = "jobq_dashboard"
THEMES = ("system", "light", "dark")
YEAR = 365 * 86400


@frozen(kw_only=True)
class Cookie:
    """What a browser remembers between two pages."""

    token: str = field(default="", repr=False)
    theme: str = "system"
    notice: str = ""
    """What to say on the next page, once."""

    @classmethod
    def of(cls, request: Request) -> Self:
        """The cookie that came, or an empty one."""
        try:
            morsel = SimpleCookie(request.headers.get("cookie", "")).get(NAME)
        except CookieError:
            morsel = None
        found = dict(parse_qsl(morsel.value)) if morsel is not None else {}
        theme = found.get("theme", "")
        return cls(
            token=found.get("token", ""),
            theme=theme if theme in THEMES else "system",
            notice=found.get("notice", "")[:500],
        )

    def with_token(self) -> Self:
        """The same with a token, if it has none."""
        return self if self.token else evolve(self, token=secrets.token_urlsafe(24))

    def header(self, request: Request, base: str) -> str:
        """What tells the browser to keep it."""
        value = urlencode({"token": self.token, "theme": self.theme, "notice": self.notice})
        secure = "; Secure" if _is_https(request) else ""
        path = base or "/"
        return f"{NAME}={value}; Path={path}; Max-Age={YEAR}; HttpOnly; SameSite=Lax{secure}"


def _is_https(request: Request) -> bool:
    headers = request.headers
    origin = headers.get("origin") or headers.get("referer", "")
    return headers.get("x-forwarded-proto") == "https" or origin.startswith("https://")


def check_forgery(request: Request, given: str) -> None:
    """Refuse a form that another site has sent, or that does not carry the cookie's token."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        own = site == "same-origin"
    elif origin is not None:
        own = urlsplit(origin).netloc == request.headers.get("host")
    else:
        own = True  # no browser; the token decides
    token = Cookie.of(request).token
    if not own or not token or not compare_digest(token.encode(), given.encode()):
        raise Problem(
            403, "csrf", "this form did not come from this page as it is now: reload it, try again"
        )
