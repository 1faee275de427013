"""Templates become pages. Jinja2 is an extra, and is imported where a dashboard is made."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from jobq._errors import ConfigurationError
from jobq.http.dashboard import formats


class Renderer:
    """Renders jobq's own templates; whatever they show is escaped."""

    def __init__(self) -> None:
        try:
            import jinja2
        except ModuleNotFoundError:
            raise ConfigurationError(
                "the dashboard needs jinja2: pip install 'jobq[dashboard]'"
            ) from None
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader(__package__, "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "count": formats.count,
            "span": formats.span,
            "clock": formats.clock,
            "shown": formats.shown,
            "short_id": formats.short_id,
            "first_line": formats.first_line,
            "words": formats.words,
            "money": formats.money,
            "size": formats.size,
        }
        self._environment.globals |= {
            "ago": formats.ago,
            "pretty": formats.pretty,
            "phrase": lambda status: HTTPStatus(status).phrase,
        }

    def render(self, template: str, **context: Any) -> str:
        """The page of a template."""
        return self._environment.get_template(template).render(**context)
