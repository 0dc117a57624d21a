"""How charts and their tables look: in light, in dark, on paper, on a phone."""

from __future__ import annotations

# What a part of a chart stands for. A new one needs its colours below.
LOOKS = (
    "deferred", "passed", "at-once", "likely-spam", "other-way", "varying", "unknown", "refused",
)  # fmt: skip

# Light and dark, each with at least three times the contrast of its background; on paper, greys.
_COLOURS = {
    "deferred": ("#b45f06", "#f0a03c", "#777"),
    "passed": ("#1f6fb4", "#6fb1ec", "#444"),
    "at-once": ("#2b8a57", "#62c490", "#aaa"),
    "likely-spam": ("#a8323a", "#ee7f86", "#222"),
    "other-way": ("#7b4fa3", "#bd98e0", "#666"),
    "varying": ("#0f7f88", "#4fc4ce", "#999"),
    "unknown": ("#75797f", "#9aa0a8", "#ccc"),
    "refused": ("#4d4a1e", "#c9c47a", "#555"),
}


def _colours(place: int) -> str:
    return "".join(f"--look-{look}:{found[place]};" for look, found in _COLOURS.items())


_LIGHT = f":root{{{_colours(0)}--chart-line:#c9ccd1;--chart-quiet:#5b6068;--chart-back:#fff}}"
_DARK = f":root{{{_colours(1)}--chart-line:#454a52;--chart-quiet:#a9afb8;--chart-back:#16181c}}"
_PAPER = f":root{{{_colours(2)}--chart-line:#bbb;--chart-quiet:#333;--chart-back:#fff}}"
_FILLS = "".join(
    f".look-{look}{{fill:var(--look-{look});background:var(--look-{look})}}" for look in LOOKS
)

CSS = f"""\
{_LIGHT}
@media (prefers-color-scheme:dark){{{_DARK}}}
:root[data-theme=light]{_LIGHT.removeprefix(":root")}
:root[data-theme=dark]{_DARK.removeprefix(":root")}
{_FILLS}
.chart{{margin:0 0 1.5rem;break-inside:avoid}}
.chart figcaption span{{display:block;color:var(--chart-quiet);font-size:.875rem}}
.chart .axes{{display:flex;gap:.5rem;margin-top:.5rem}}
.chart .high{{display:flex;flex-direction:column;justify-content:space-between;text-align:right;
min-width:2.5rem;font-size:.75rem;line-height:1;color:var(--chart-quiet);margin:-.375rem 0}}
.chart .plot{{display:block;flex:1;width:100%;min-width:0;height:12rem}}
.chart .plot.share{{height:1.75rem;margin-top:.5rem}}
.chart .plot rect:not(.hit){{stroke:var(--chart-back);stroke-width:1;
vector-effect:non-scaling-stroke}}
.chart .hit{{fill:transparent}}
.chart g:hover .hit{{fill:var(--chart-line)}}
.chart .grid{{stroke:var(--chart-line);stroke-width:1;vector-effect:non-scaling-stroke}}
.chart .below{{display:flex;margin:.25rem 0 0 3rem;font-size:.75rem;color:var(--chart-quiet)}}
.chart .below span{{flex:1;min-width:0;white-space:nowrap}}
.chart .legend{{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1rem;padding:0;
margin:.5rem 0;font-size:.875rem}}
.chart .swatch{{display:inline-block;width:.75rem;height:.75rem;margin-right:.375rem}}
.chart .scroll,.scroll{{overflow-x:auto;max-width:100%}}
.chart table{{border-collapse:collapse;font-size:.875rem}}
.chart caption{{text-align:left;color:var(--chart-quiet)}}
.chart th,.chart td{{padding:.2rem .6rem;border-bottom:1px solid var(--chart-line);text-align:left;
white-space:nowrap}}
.chart .number{{text-align:right;font-variant-numeric:tabular-nums}}
.chart .empty{{color:var(--chart-quiet)}}
@media (max-width:30rem){{.chart .plot:not(.share){{height:9rem}}}}
@media (max-width:40rem){{.chart .below span:nth-child(even){{visibility:hidden}}}}
@media print{{{_PAPER}
.chart .plot{{print-color-adjust:exact}}.chart .swatch{{print-color-adjust:exact}}
details::details-content{{content-visibility:visible;display:block}}
.chart .scroll{{overflow:visible}}}}
"""
