"""Pages from templates: everything is escaped, and nothing but the package's own files is read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from greylag import __version__
from greylag.admin.moments import moment, span
from greylag.core.accesslist import NEVER
from greylag.show.durations import in_words
from greylag.show.texts import clean

if TYPE_CHECKING:
    from greylag.web.visit import Visit

FOLDER = Path(__file__).parent
_LONGEST = 400  # characters of a value that a page shows


class Drawing:
    """The templates."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_shown,
        )
        self._templates.filters.update(
            moment=_moment,
            span=span,
            words=in_words,
            count=_count,
            percent=_percent,
            whole=_whole,
        )
        self._templates.globals.update(version=__version__)

    def page(self, name: str, visit: Visit, /, **facts: object) -> str:
        """Return the HTML of a page."""
        template = self._templates.get_template(f"{name}.html")
        token = visit.web.sessions.token(visit.word) if visit.word else ""
        common: Mapping[str, Any] = {"visit": visit, "token": token, "now": visit.now}
        return template.render({**common, **facts})


def _shown(item: object) -> object:
    """Return what is put into a page: a text without characters that hide or turn others."""
    if isinstance(item, str) and not hasattr(item, "__html__"):
        text = clean(item)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}[...]"
    return "" if item is None else item


def _whole(text: str) -> Markup:
    """Return a text that is not cut: what a form or a link brings back."""
    return escape(clean(text))


def _moment(seconds: int) -> str | Markup:
    """Return a time in UTC, which the script shows in the zone of who looks."""
    shown = moment(seconds)
    if not shown.endswith(" UTC") or seconds >= NEVER:
        return shown
    stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{0}" title="{1}">{1}</time>').format(stamp, escape(shown))


def _count(number: int) -> Markup:
    return Markup(f"{number:,}".replace(",", "&#8239;"))  # noqa: S704 - digits alone


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.1f}%"
