"""What is no screen of its own: assets, and the choice of a theme."""

from __future__ import annotations

from urllib.parse import urlsplit

from attrs import evolve

from jobq.http.dashboard import assets
from jobq.http.dashboard.cookie import THEMES, Cookie, check_forgery
from jobq.http.dashboard.visit import Visit
from jobq.http.reading import invalid
from jobq.http.steps import Operation


def asset(visit: Visit) -> Operation:
    return assets.respond(visit.request, visit.id)
    yield  # a generator, as every operation


def theme(visit: Visit) -> Operation:
    """Remember a theme, and go back to where it was chosen."""
    check_forgery(visit.request, visit.given("token"))
    chosen = visit.given("theme")
    if chosen not in THEMES:
        raise invalid(f"{chosen!r:.50} is not one of {', '.join(THEMES)}")
    cookie = evolve(Cookie.of(visit.request).with_token(), theme=chosen)
    return visit.redirect(_back(visit), cookie)
    yield  # a generator, as every operation


def _back(visit: Visit) -> str:
    came = urlsplit(visit.request.headers.get("referer", ""))
    is_own = came.path == visit.base or came.path.startswith(f"{visit.base}/")
    if not is_own:
        return visit.url("")
    return f"{came.path}?{came.query}" if came.query else came.path
