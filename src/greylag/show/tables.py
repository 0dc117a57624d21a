"""Tables of figures as HTML. All that is not ours is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from greylag.show.texts import clean

Cell = str | int | float
_DAY = 86400
_YEAR = 365 * _DAY


class Moment(int):
    """A Unix time, which is shown as one."""


class _Dated(Moment):
    """One that is shown with its year."""


def dated(labels: Sequence[Cell]) -> Sequence[Cell]:
    """Return labels of an axis: those of a year or more tell which year, or two are alike."""
    moments = [one for one in labels if isinstance(one, Moment)]
    if not moments or moments[-1] - moments[0] < _YEAR:
        return labels
    return [_Dated(one) if isinstance(one, Moment) else one for one in labels]


def days(labels: Sequence[Cell]) -> bool:
    """Tell whether an axis has whole days: such are those of UTC, wherever it is looked at."""
    return bool(labels) and all(isinstance(one, Moment) and not one % _DAY for one in labels)


def text(words: str) -> str:
    """Return text as it may stand anywhere in a page, also in an attribute."""
    return escape(clean(words), quote=True)


def shown(cell: Cell) -> str:
    """Return a cell's text: a time in UTC, a number as it is."""
    if isinstance(cell, _Dated):
        return _moment(cell, "%b %Y" if _moment(cell, "%d %H:%M") == "01 00:00" else "%d %b %Y")
    if isinstance(cell, Moment):
        return _moment(cell, "%d %b %H:%M" if cell % _DAY else "%d %b")
    return str(cell)


def marked(cell: Cell, *, short: bool = False) -> str:
    """Return a cell as HTML; a time says which one it is, so that a page may show it elsewhere.

    In short, it is the time of day, and the day where that begins.
    """
    if not isinstance(cell, Moment):
        return text(str(cell))
    exact = _moment(cell, "%Y-%m-%dT%H:%M:%SZ")
    said = _moment(cell, "%H:%M") if short and cell % _DAY else shown(cell)
    title = _moment(cell, "%Y-%m-%d %H:%M UTC")
    return f'<time datetime="{text(exact)}" title="{text(title)}">{text(said)}</time>'


def _moment(seconds: int, form: str) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return str(int(seconds))


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a table: the first cell of each row says what the row is about."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    body = "".join(f"<tr>{_row(row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(caption)}">'
        f"<table><caption>{text(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: Sequence[Cell]) -> str:
    first, *rest = row
    cells = [f'<th scope="row">{marked(first)}</th>']
    for cell in rest:
        kind = "" if isinstance(cell, str | Moment) else ' class="number"'
        cells.append(f"<td{kind}>{marked(cell)}</td>")
    return "".join(cells)
