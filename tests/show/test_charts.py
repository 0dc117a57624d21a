"""Charts: they draw what they are given, say it in a table, and nothing in them acts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from greylag.show.charts import CSS, LOOKS, Series, histogram, share, stacked
from greylag.show.tables import Moment, table

HOUR, T = 3600, 1_800_000_000
EVIL = [
    "<script>alert(1)</script>", '" onload="alert(1)', "'><img src=x onerror=alert(1)>", "&lt;b",
    "\x1b[2J\u202egpj", "]]>", "--><svg/onload=alert(1)>", "x" * 5000,
]  # fmt: skip
HOURS = [Moment(T + HOUR * number) for number in range(24)]
ONE = Series("deferred", "deferred", tuple(range(24)))
TWO = Series("passed after a delay", "passed", tuple(range(24, 0, -1)))


class Reader(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.cells: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, "every tag is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data

    def all_of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def drawn(page: str, look: str) -> list[float]:
    """Return the heights of what is drawn in a look."""
    found = Reader(page).all_of("rect")
    return [float(one["height"] or 0) for one in found if one["class"] == f"look-{look}"]


def test_columns_are_as_high_as_their_numbers() -> None:
    page = stacked("Mail", "How much there was.", HOURS, [ONE, TWO])
    assert drawn(page, "deferred") == pytest.approx([n / 40 * 100 for n in range(1, 24)], rel=0.01)
    assert drawn(page, "passed") == pytest.approx([n / 40 * 100 for n in range(24, 0, -1)])
    assert "<span>40</span><span>20</span><span>0</span>" in page


def test_the_table_has_the_same_figures() -> None:
    cells = Reader(stacked("Mail", "How much there was.", HOURS, [ONE, TWO])).cells
    assert cells[:3] == ["from (UTC)", "deferred", "passed after a delay"]
    assert cells[3:9] == ["15 Jan 08:00", "0", "24", "15 Jan 09:00", "1", "23"]
    assert len(cells) == 3 * 25


def test_labels_that_span_a_year_say_which_year() -> None:
    """Else the first and the last of 13 months have the same label."""
    months = [
        Moment(datetime(2025 + n // 12, n % 12 + 1, 1, tzinfo=UTC).timestamp()) for n in range(13)
    ]
    page = stacked("Mail", "a", months, [Series("n", "passed", (1,) * 13)])
    below = re.search('<div class="below".*?</div>', page)
    assert below is not None
    names = re.findall(">([^<>]+)</time>", below[0])
    assert names[0] == "Jan 2025"
    assert len(set(names)) == len(names)
    assert Reader(page).cells[-2] == "Jan 2026"
    weeks = [Moment(one + 86400 * 5) for one in months]
    assert "06 Jan 2026" in stacked("Mail", "a", weeks, [Series("n", "passed", (1,) * 13)])


def test_it_says_what_it_shows_to_who_cannot_see_it() -> None:
    page = Reader(stacked("Mail", "How much there was.", HOURS, [ONE, TWO]))
    [svg] = page.all_of("svg")
    ids = [attributes["id"] for _tag, attributes in page.tags if "id" in attributes]
    assert svg["role"] == "img"
    assert (svg["aria-labelledby"] or "").split() == ids
    other = Reader(stacked("Mail", "How much there was.", HOURS, [TWO]))
    assert not {a["id"] for _tag, a in other.tags if "id" in a} & set(ids), "ids are one page's own"
    times = page.all_of("time")
    assert times[0] == {"datetime": "2027-01-15T08:00:00Z", "title": "2027-01-15 08:00 UTC"}
    scopes = [one["scope"] for one in page.all_of("th")]
    assert scopes == ["col"] * 3 + ["row"] * 24
    below = [one for one in times if one is not times[0]][-6:]
    assert len({one["datetime"] for one in below}) == 6, "those below the columns are times, too"


def test_a_figure_that_is_not_zero_is_never_drawn_as_nothing() -> None:
    page = stacked("a", "b", ["x", "y"], [Series("n", "deferred", (1, 1_000_000))])
    assert min(drawn(page, "deferred")) > 0.5


@pytest.mark.parametrize("columns", range(1, 120))
def test_labels_stand_below_their_columns(columns: int) -> None:
    labels = [str(n) for n in range(columns)]
    page = stacked("a", "b", labels, [Series("n", "passed", (1,) * columns)])
    [svg] = Reader(page).all_of("svg")
    places = float((svg["viewbox"] or "").split()[2]) / 10
    below = re.search('<div class="below".*?</div>', page)
    assert below is not None
    names = re.findall("<span>(.*?)</span>", below[0])
    assert [int(name) for name in names] == [
        n for n in range(columns) if n % (places / len(names)) == 0
    ]
    assert columns <= places <= columns * 1.2 + 2
    assert len(names) <= 8


@pytest.mark.parametrize("numbers", [(), (0, 0), (0.0,)])
def test_of_no_figures_it_says_so(numbers: tuple[float, ...]) -> None:
    labels = ["x"] * len(numbers)
    for page in (
        stacked("a", "b", labels, [Series("n", "passed", numbers)]),
        share("a", "b", [Series("n", "passed", numbers)]),
        histogram("a", "b", labels, numbers),
    ):
        assert "Nothing was counted in this time." in page
        assert "<svg" not in page
        assert "<table>" in page


def test_a_share_is_as_long_as_its_part() -> None:
    parts = [Series("likely spam", "likely-spam", (75,)), Series("unknown", "unknown", (25,))]
    page = share("What never came back", "Most is likely spam.", parts)
    rects = Reader(page).all_of("rect")
    assert [(one["x"], one["width"]) for one in rects] == [("0", "75"), ("75", "25")]
    cells = Reader(page).cells
    assert cells[3:] == ["likely spam", "75", "75.0%", "unknown", "25", "25.0%"]
    assert "<b>75</b> (75.0%)" in page


def test_a_histogram_has_a_column_for_each_size() -> None:
    page = histogram("Delay", "Most waited for ten minutes.", ["1 min", "10 min"], (3, 6))
    assert drawn(page, LOOKS[0]) == [50, 100]


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_that_it_is_given_acts(evil: str) -> None:
    """T15."""
    series = [Series(evil, "passed", (1, 2)), Series("a", evil, (1, 2))]
    pages = [
        stacked(evil, evil, [evil, evil], series),
        histogram(evil, evil, [evil, "b"], (1, 2)),
        share(evil, evil, series),
        table(evil, [evil, evil], [[evil, evil]]),
    ]
    for page in pages:
        found = Reader(page)
        assert not {"script", "img"} & {tag for tag, _ in found.tags}
        assert not any(name.startswith("on") for _, given in found.tags for name in given)
        assert not {"style", "href", "src"} & {name for _, given in found.tags for name in given}
        assert page.isprintable()
        assert len(found.all_of("svg")) <= 1


def test_no_style_is_in_a_chart_and_nothing_is_fetched() -> None:
    """A strict Content-Security-Policy lets it in as it is."""
    pages = [
        stacked("a", "b", HOURS, [ONE, TWO]),
        share("a", "b", [ONE]),
        histogram("a", "b", ["c"], (1,)),
    ]
    for page in pages:
        assert "style=" not in page
        assert "http" not in page
    assert "http" not in CSS
    assert "url(" not in CSS
    assert "@import" not in CSS


def _luminance(colour: str) -> float:
    digits = colour if len(colour) == 6 else "".join(2 * c for c in colour)
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_colour_stands_out_from_its_background(theme: str) -> None:
    rules = re.search(rf"data-theme={theme}\]{{(.*?)}}", CSS)
    assert rules is not None
    colours = dict(re.findall(r"--([a-z-]+):#([0-9a-f]+)", rules[1]))
    for look in LOOKS:
        assert _contrast(colours[f"look-{look}"], colours["chart-back"]) >= 3, look
    assert _contrast(colours["chart-quiet"], colours["chart-back"]) >= 4.5
