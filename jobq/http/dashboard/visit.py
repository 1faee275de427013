"""One visit to a page: who comes, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode

from attrs import evolve, frozen

from jobq._clock import to_datetime
from jobq.http.dashboard import assets
from jobq.http.dashboard.access import READ, Operator, operator_of
from jobq.http.dashboard.cookie import Cookie, check_forgery
from jobq.http.messages import Request, Response
from jobq.http.problems import Problem
from jobq.http.reading import invalid
from jobq.http.steps import Steps
from jobq.observe import logger

if TYPE_CHECKING:
    from datetime import datetime

    from jobq.http.dashboard.api import Dashboard

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
LIVE = "x-jobq-live"
"""The header by which the script asks for a page anew."""


@frozen(kw_only=True, slots=False)
class Visit:
    """A request to a page, or with a form."""

    api: Dashboard
    request: Request
    base: str
    """The path that the dashboard is mounted at, without a slash at its end."""
    screen: str
    id: str = ""
    name: str = ""

    def admit(self, action: str = READ) -> Steps[Operator]:
        """Who comes. Raises `Problem` where he may not do this."""
        return operator_of((yield from self.api.access.decide(self.request, action)))

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """The query's parameters that are not empty."""
        return _fields(self.request.query)

    def asked(self, name: str) -> str | None:
        """A parameter of the query."""
        return self.query.get(name, [None])[-1]

    @cached_property
    def form(self) -> dict[str, list[str]]:
        """The fields of the form that are not empty."""
        if len(self.request.body) > self.api.largest_body:
            raise Problem(413, "too_large", "the form is too large")
        return _fields(self.request.body)

    def given(self, name: str) -> str:
        """A field of the form."""
        return self.form.get(name, [""])[-1]

    def needed(self, name: str) -> str:
        """A field of the form that must be there."""
        value = self.given(name).strip()
        if not value:
            raise invalid(f"fill in {name.replace('_', ' ')}")
        return value

    def now(self) -> datetime:
        return to_datetime(self.api.config.clock.now())

    def url(self, path: str, **query: Any) -> str:
        """The address of one of the dashboard's pages."""
        said = {name: value for name, value in query.items() if value not in (None, "", [])}
        found = f"{self.base}{quote(path)}" or "/"
        return f"{found}?{urlencode(said, doseq=True)}" if said else found

    # --- forms ----------------------------------------------------------------------------------

    def submit(self, actions: Mapping[str, Any]) -> Steps[tuple[str, Operator]]:
        """What the form is to do, and who asks; refuses forged forms and other actions."""
        check_forgery(self.request, self.given("token"))
        action = self.given("action")
        if action not in actions:
            raise invalid(f"{action!r:.50} is nothing that can be done here")
        operator = yield from self.admit(action)
        return action, operator

    def log(self, operator: Operator, action: str, target: str) -> None:
        """Leave a record of what somebody has done."""
        facts = {"operator": operator.name, "action": action, "target": target}
        logger.info(
            "dashboard: %s: %s %s", operator.name or "somebody", action, target, extra=facts
        )

    def done(self, notice: str, path: str, **query: Any) -> Response:
        """Lead to a page that says what was done."""
        cookie = evolve(Cookie.of(self.request).with_token(), notice=notice)
        return self.redirect(self.url(path, **query), cookie)

    def redirect(self, location: str, cookie: Cookie | None = None) -> Response:
        headers = {"location": location, "cache-control": "no-store"}
        if cookie is not None:
            headers["set-cookie"] = cookie.header(self.request, self.base)
        return Response(status=303, headers=headers)

    # --- pages ----------------------------------------------------------------------------------

    def page(self, operator: Operator | None, *, status: int = 200, **context: Any) -> Response:
        """The screen's page, made of its template."""
        was = Cookie.of(self.request)
        cookie = was.with_token()
        headers = dict(HEADERS)
        is_live = LIVE in self.request.headers
        if cookie.token != was.token or (cookie.notice and not is_live):
            headers["set-cookie"] = evolve(cookie, notice="").header(self.request, self.base)
        body = self.api.renderer.render(
            f"{self.screen}.html",
            visit=self,
            operator=operator,
            can=operator.can if operator is not None else lambda _: False,
            screen=self.screen,
            cookie=cookie,
            notice="" if is_live else cookie.notice,
            now=self.now(),
            url=self.url,
            asset=self.asset,
            options=self.api.options,
            **context,
        )
        return Response(status=status, headers=headers, body=body.encode())

    def asset(self, name: str) -> str:
        """The address of an asset."""
        return self.url(f"/assets/{assets.by_name()[name].name}")

    def refusal(self, problem: Problem) -> Response:
        """A page that says what went wrong; who is unknown is sent to sign in, where one can."""
        sign_in = self.api.options.sign_in
        if problem.status == 401 and sign_in is not None and self.request.method == "GET":
            asked = self.request.path + (f"?{self.request.query}" if self.request.query else "")
            return self.redirect(f"{sign_in}?{urlencode({'next': asked})}")
        page = evolve(self, screen="error").page(None, status=problem.status, problem=problem)
        return evolve(page, headers={**page.headers, **problem.headers})


def _fields(coded: str | bytes) -> dict[str, list[str]]:
    """The fields of a query or a form."""
    try:
        text = coded if isinstance(coded, str) else coded.decode()
        return parse_qs(text, errors="replace", max_num_fields=500)
    except ValueError:
        raise Problem(400, "malformed", "the form cannot be read") from None
