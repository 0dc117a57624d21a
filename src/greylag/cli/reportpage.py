"""The page of `greylag report`: self-contained, so that it may be mailed, kept and printed."""

from __future__ import annotations

from collections.abc import Sequence

from greylag.admin.digest import Digest
from greylag.admin.moments import moment
from greylag.admin.top import Top
from greylag.cli.statsby import DEFERRED, OTHERS, whole_days
from greylag.cli.topshown import SECTIONS, TITLES, not_all
from greylag.show.charts import CSS
from greylag.show.durations import in_words
from greylag.show.summaries import answers_over_time, delays, never_over_time, never_share
from greylag.show.tables import Cell, table, text

_STYLE = """\
:root{color-scheme:light dark}
body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem;
background:var(--chart-back)}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
ol{padding-left:1.25rem}li{margin-bottom:.5rem}
.advice{display:block;color:var(--chart-quiet);overflow-wrap:anywhere}
td{white-space:nowrap}
table{border-collapse:collapse;font-size:.875rem}caption{display:none}
th,td{padding:.25rem .75rem .25rem 0;text-align:left;border-bottom:1px solid var(--chart-line)}
.number{text-align:right}
footer{color:var(--chart-quiet);font-size:.875rem;margin-top:2rem}
"""


def page(found: Digest, host: str) -> str:
    """Return the report as a page."""
    of = found.overview
    title = f"greylag on {host}: {in_words(of.until - found.top.since)}"
    parts = [(part.start, part.summary) for part in of.parts]
    body = [
        f"<h1>{text(title)}</h1><p>{text(moment(of.since))} to {text(moment(of.until))}</p>",
        f"<p>Figures of {text(steps(found))}.</p>",
        _findings(found),
        "<h2>What greylisting did</h2>",
        answers_over_time(parts, of.step.value),
        never_share(of.total),
        never_over_time(parts, of.step.value),
        delays(of.total),
        *_tables(found.top),
        f"<footer>{_notes(found)}</footer>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}</title><style>{CSS}{_STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def steps(found: Digest) -> str:
    """Return of which hours, days, weeks or months the figures are: they begin in UTC."""
    of = found.overview
    return f"{len(of.parts)} {of.step.value}s (UTC), the last of which is not over yet"


def _findings(found: Digest) -> str:
    if not found.findings:
        return "<h2>To look at</h2><p>Nothing stands out.</p>"
    items = "".join(
        f'<li>{text(one.text)}<span class="advice">{text(one.advice)}</span></li>'
        for one in found.findings
    )
    return f"<h2>To look at</h2><ol>{items}</ol>"


def _tables(top: Top) -> list[str]:
    parts = []
    hurt, *others = [_table(title, header, list(rows(top))) for _, title, header, rows in SECTIONS]
    for by, title in TITLES.items():
        rows = [
            (name or OTHERS, of.deferred, of.passed, of.never, of.likely_spam)
            for name, of in top.names[by].items()
        ]
        parts.append(_table(title, ("", *_NUMBERS), rows))
    return [hurt, *parts, *others]


_NUMBERS = (DEFERRED, "passed", "never came back", "likely spam")


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    shown = table(title, header, rows) if rows else "<p>None.</p>"
    return f"<h2>{text(title)}</h2>{shown}"


def _notes(found: Digest) -> str:
    days = whole_days(found.top.until, found.top.until - found.top.since)
    return "".join(f"<p>{text(note)}</p>" for note in (days, *notes(found)))


def notes(found: Digest) -> list[str]:
    """Return what whoever reads a report has to know of what is missing in it."""
    told = (found.overview.no_figures, found.top.no_history, not_all(found.top))
    return [note for note in told if note is not None]
