"""Charts as SVG in a page, each with a table of the same figures.

Values in, HTML out. Nothing has a style of its own: classes say what a part is, and `CSS` how that
looks in light, in dark and on paper. Only bars are drawn in the SVG, which is stretched to whatever
room there is; all words stand beside it, so they are as large on a phone as on a desk.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from greylag.core.value import value
from greylag.show.style import CSS, LOOKS
from greylag.show.tables import Cell, dated, days, marked, shown, table, text

__all__ = ["CSS", "LOOKS", "Series", "histogram", "share", "stacked"]

_COLUMN, _HEIGHT = 10.0, 100.0  # of the drawing, before it is stretched
_GAP = 1.5  # between two columns
_FEW_LABELS, _MOST_LABELS = 4, 8  # below the columns: more would not fit
_THINNEST = 0.6  # what is not zero is seen


@value
class Series:
    """One kind of figures: a word for people, one of `style.LOOKS`, and a number for each label."""

    name: str
    look: str
    numbers: tuple[float, ...]


def stacked(title: str, note: str, labels: Sequence[Cell], series: Sequence[Series]) -> str:
    """Return columns over time, or over other labels, each made of all series.

    Labels that are a `tables.Moment` are shown as times. `note` says in one sentence what is to be
    seen, for who cannot see it.
    """
    labels = dated(labels)
    sums = [sum(one.numbers[n] for one in series) for n in range(len(labels))]
    most = _round_up(max(sums, default=0))
    header = [_first_header(labels), *(one.name for one in series)]
    rows = [[label, *(_number(one.numbers[n]) for one in series)] for n, label in enumerate(labels)]
    if not any(sums):
        return _figure(title, note, _EMPTY, "", table(title, header, rows))
    columns = "".join(_column(n, label, series, most) for n, label in enumerate(labels))
    step, places = _steps(len(labels))
    drawn = _plot(_svg(title, note, _COLUMN * places, _grid(places) + columns), most)
    entries = [(one.look, one.name, _total(one)) for one in series]
    legend = _legend(entries) if len(entries) > 1 else ""
    return _figure(title, note, drawn + _below(labels[::step]), legend, table(title, header, rows))


def histogram(title: str, note: str, labels: Sequence[str], numbers: Sequence[float]) -> str:
    """Return how many there are of each size: one column for each label."""
    series = Series("number", LOOKS[0], tuple(numbers))
    return stacked(title, note, labels, [series])


def share(title: str, note: str, parts: Sequence[Series]) -> str:
    """Return one bar of all parts, each as long as its share. A part has one number."""
    whole = sum(_total(part) for part in parts)
    rows = [[part.name, _number(_total(part)), _percent(_total(part), whole)] for part in parts]
    told = table(title, ["part", "number", "share"], rows)
    if not whole:
        return _figure(title, note, _EMPTY, "", told)
    at, drawn = 0.0, ""
    for part in parts:
        width = 100 * _total(part) / whole
        drawn += _rect(part.look, at, 0, width, _HEIGHT, f"{part.name}: {_number(_total(part))}")
        at += width
    legend = _legend([(part.look, part.name, _total(part)) for part in parts], whole)
    svg = _svg(title, note, 100, drawn, " share")
    return _figure(title, note, svg, legend, told)


_EMPTY = '<p class="empty">Nothing was counted in this time.</p>'


def _figure(title: str, note: str, drawn: str, legend: str, told: str) -> str:
    return (
        f'<figure class="chart"><figcaption><strong>{text(title)}</strong>'
        f"<span>{text(note)}</span></figcaption>{drawn}{legend}"
        f"<details><summary>The same as a table</summary>{told}</details></figure>"
    )


def _svg(title: str, note: str, width: float, drawn: str, kind: str = "") -> str:
    name = f"chart-{crc32(f'{title} {note} {drawn}'.encode()):08x}"
    return (
        f'<svg class="plot{kind}" viewBox="0 0 {width:g} {_HEIGHT:g}" preserveAspectRatio="none"'
        f' role="img" aria-labelledby="{name} {name}-note">'
        f'<title id="{name}">{text(title)}</title><desc id="{name}-note">{text(note)}</desc>'
        f"{drawn}</svg>"
    )


def _plot(svg: str, most: float) -> str:
    """Return the drawing with what its height means."""
    ticks = "".join(f"<span>{_number(most * part / 2)}</span>" for part in (2, 1, 0))
    return f'<div class="axes"><div class="high" aria-hidden="true">{ticks}</div>{svg}</div>'


def _grid(columns: int) -> str:
    return "".join(
        f'<line class="grid" x1="0" x2="{_COLUMN * columns:g}" y1="{at:g}" y2="{at:g}"></line>'
        for at in (0, _HEIGHT / 2, _HEIGHT)
    )


def _column(place: int, label: Cell, series: Sequence[Series], most: float) -> str:
    """Return one column, with all of its figures to be read where a pointer rests."""
    numbers = [(one, one.numbers[place]) for one in series]
    said = ", ".join(f"{one.name} {_number(number)}" for one, number in numbers)
    drawn, top = "", _HEIGHT
    for one, number in numbers:
        if number <= 0:
            continue
        height = max(_THINNEST, _HEIGHT * number / most)
        top -= height
        drawn += _rect(one.look, place * _COLUMN + _GAP / 2, top, _COLUMN - _GAP, height)
    hit = _rect("", place * _COLUMN, 0, _COLUMN, _HEIGHT)
    return f"<g><title>{text(f'{shown(label)}: {said}')}</title>{hit}{drawn}</g>"


def _rect(look: str, x: float, y: float, width: float, height: float, said: str = "") -> str:
    kind = f"look-{look}" if look in LOOKS else "hit"
    told = f"<title>{text(said)}</title>" if said else ""
    return (
        f'<rect class="{kind}" x="{x:.4g}" y="{y:.4g}" width="{width:.4g}" height="{height:.4g}">'
        f"{told}</rect>"
    )


def _steps(columns: int) -> tuple[int, int]:
    """Return how many columns each label below stands for, and for how many all of them do.

    All labels are as wide as each other, so the last may stand for columns that there are not: as
    few as possible.
    """
    ways = range(-(-columns // _MOST_LABELS), -(-columns // _FEW_LABELS) + 1)
    return min(((step, -(-columns // step) * step) for step in ways), key=lambda way: way[::-1])


def _below(labels: Sequence[Cell]) -> str:
    names = "".join(f"<span>{marked(label, short=True)}</span>" for label in labels)
    kind = " data-days" if days(labels) else ""
    return f'<div class="below"{kind} aria-hidden="true">{names}</div>'


def _legend(entries: Sequence[tuple[str, str, float]], whole: float = 0) -> str:
    items = ""
    for look, name, number in entries:
        part = f" ({_percent(number, whole)})" if whole else ""
        swatch = f'<span class="swatch look-{look if look in LOOKS else LOOKS[0]}"></span>'
        items += f"<li>{swatch}{text(name)} <b>{_number(number)}</b>{part}</li>"
    return f'<ul class="legend">{items}</ul>'


def _total(series: Series) -> float:
    return sum(series.numbers)


def _first_header(labels: Sequence[Cell]) -> str:
    return "" if not labels or isinstance(labels[0], str) else "from (UTC)"


def _number(number: float) -> Cell:
    """Return a whole number as one; of another, what is worth telling."""
    return int(number) if number == int(number) else float(f"{number:.3g}")


def _percent(number: float, whole: float) -> str:
    return f"{number / whole:.1%}" if whole else "-"


def _round_up(most: float) -> float:
    """Return the next number with one digit, 2, 4, 6, 8 or 10, for the axis."""
    size = 1.0
    while size * 10 < most:
        size *= 10
    return next((size * n for n in (2, 4, 6, 8, 10) if most <= size * n), 2 * size)
