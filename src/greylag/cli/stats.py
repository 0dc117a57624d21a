"""`greylag stats`: what greylisting stopped, what it delayed and for how long, what it let in."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from itertools import pairwise

import click

from greylag.cli.common import Run, examples, json_option
from greylag.cli.output import (
    moment,
    say,
    say_wrapped,
    span,
    write,
    write_fields,
    write_json,
    write_table,
)
from greylag.core.duration import parse_duration
from greylag.core.figures import (
    DELAYED,
    EVICTED,
    HOUR,
    STOPPED,
    WAITED_BOUNDS,
    WAITED_SECONDS,
    answer_name,
    hour_of,
)
from greylag.core.verdict import Reason, Verdict

NOT_COUNTED = tuple(reason for reason in Reason if not reason.counted)
_RETRIED = answer_name(Verdict.PASS, Reason.RETRIED)
_BUCKETS = tuple(f"waited:{bound}" for bound in WAITED_BOUNDS)
_OVER = "waited:more"


def _since(_context: click.Context, _parameter: click.Parameter, text: str) -> int:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, got {text!r}") from None
    if not seconds:
        raise click.BadParameter(f"expected a time longer than none, got {text!r}")
    return seconds


@click.command(epilog=examples("greylag stats", "greylag stats --since 7d --by-hour"))
@click.option(
    "--since",
    metavar="DURATION",
    default="24h",
    show_default=True,
    callback=_since,
    help="How far back, such as 90m or 7d. Figures are kept by the hour: whole hours count.",
)
@click.option("--by-hour", is_flag=True, help="Show each hour as well.")
@json_option
@click.pass_obj
def stats(run: Run, since: int, by_hour: bool) -> None:
    """Show what greylisting stopped, delayed, let in and refused.

    A triplet counts as stopped when it is forgotten and never came back, so what was stopped
    shows one retry window later (and `greylag expire` has to run).
    """
    start, end = hour_of(run.now - since), hour_of(run.now) + HOUR
    with closing(run.open_store()) as store:
        hours = store.figures(start, end)
        waiting, passed = store.count(run.now)
        no_figures = store.no_figures()
    total: Counter[str] = Counter()
    for figures in hours.values():
        total.update(figures)
    if run.json:
        document: dict[str, object] = {"since": start, "until": run.now, **_document(total)}
        document["records"] = {"waiting": waiting, "passed": passed}
        document["hours"] = [{"hour": h, **_document(Counter(f))} for h, f in hours.items()]
        document["no_figures"] = no_figures
        document["not_counted"] = [reason.value for reason in NOT_COUNTED]
        write_json(document)
        return
    write_fields([("since", moment(start)), ("until", moment(run.now))])
    write("")
    write_fields(_lines(total, waiting, passed))
    if by_hour:
        write("")
        write_table(_HOUR_HEADER, [_hour_row(h, Counter(f)) for h, f in hours.items()])
    if no_figures is not None:
        say(f"no figures are kept: {no_figures}")
    names = ", ".join(reason.value for reason in NOT_COUNTED)
    say_wrapped(f"Not counted are answers that need no store: {names}.")
    say_wrapped("Not counted are connections that JGREYLIST lets in or refuses.")


def by_reason(figures: Counter[str], verdict: Verdict) -> dict[str, int]:
    """Return the answers with this verdict by reason, the most frequent first."""
    start = f"{verdict.value}:"
    found = [(n.removeprefix(start), c) for n, c in figures.items() if n.startswith(start)]
    return dict(sorted(found, key=lambda item: (-item[1], item[0])))


def median_waited(figures: Counter[str]) -> int | None:
    """Estimate the median delay: evenly spread inside its bucket of the histogram.

    Beyond the last bound nothing is known but that it was longer: then that bound is returned.
    """
    half = (sum(figures[name] for name in _BUCKETS) + figures[_OVER]) / 2
    if not half:
        return None
    below = 0
    for (low, high), name in zip(pairwise((0, *WAITED_BOUNDS)), _BUCKETS, strict=True):
        inside = figures[name]
        if inside and below + inside >= half:
            return round(low + (high - low) * (half - below) / inside)
        below += inside
    return WAITED_BOUNDS[-1]


def median_bound(figures: Counter[str]) -> int | None:
    """Return a delay that half of them did not exceed, or None: the bound of the median's bucket.

    The estimate may be below a single delay that there was; this is never.
    """
    half = (sum(figures[name] for name in _BUCKETS) + figures[_OVER]) / 2
    below = 0
    for bound, name in zip(WAITED_BOUNDS, _BUCKETS, strict=True):
        below += figures[name]
        if half and below >= half:
            return bound
    return None


def mean_waited(figures: Counter[str]) -> int | None:
    """Return the mean delay, or None where nothing was delayed."""
    count = sum(figures[name] for name in _BUCKETS) + figures[_OVER]
    return round(figures[WAITED_SECONDS] / count) if count else None


def _at_once(figures: Counter[str]) -> dict[str, int]:
    let_in = by_reason(figures, Verdict.PASS)
    let_in.pop(Reason.RETRIED.value, None)
    return let_in


def _share(figures: Counter[str]) -> float | None:
    """Return which part of all that was let in had been delayed."""
    let_in = sum(by_reason(figures, Verdict.PASS).values())
    return figures[_RETRIED] / let_in if let_in else None


def _document(figures: Counter[str]) -> dict[str, object]:
    share = _share(figures)
    return {
        "stopped": figures[STOPPED],
        "delayed": {
            "count": figures[_RETRIED],
            "median_seconds": median_waited(figures),
            "mean_seconds": mean_waited(figures),
            "share": None if share is None else round(share, 4),
        },
        "let_in_at_once": _answers(_at_once(figures)),
        "refused": _answers(by_reason(figures, Verdict.REJECT)),
        "deferred": _answers(by_reason(figures, Verdict.DEFER)),
        "forgotten_after_passing": figures[DELAYED],
        "evicted": figures[EVICTED],
    }


def _answers(counts: dict[str, int]) -> dict[str, object]:
    reasons = [{"reason": reason, "count": count} for reason, count in counts.items()]
    return {"count": sum(counts.values()), "by_reason": reasons}


def _lines(figures: Counter[str], waiting: int, passed: int) -> list[tuple[str, str]]:
    lines = [
        ("stopped", f"{figures[STOPPED]} triplets were forgotten that never came back"),
        *_delayed(figures),
    ]
    for name, counts in (
        ("let in at once", _at_once(figures)),
        ("refused", by_reason(figures, Verdict.REJECT)),
        ("deferred answers", by_reason(figures, Verdict.DEFER)),
    ):
        lines.append((name, str(sum(counts.values()))))
        lines += [(f"  {reason}", str(count)) for reason, count in counts.items()]
    if figures[EVICTED]:
        lines.append(("evicted", f"{figures[EVICTED]} waiting triplets had to make room"))
    return [*lines, ("records now", f"{waiting} waiting for a retry, {passed} passed")]


def _delayed(figures: Counter[str]) -> list[tuple[str, str]]:
    mean, share = mean_waited(figures), _share(figures)
    if mean is None or share is None:
        return [("delayed", str(figures[_RETRIED]))]
    bound = median_bound(figures)
    half = f"more than {span(WAITED_BOUNDS[-1])}" if bound is None else f"at most {span(bound)}"
    return [
        ("delayed", f"{figures[_RETRIED]} ({share:.1%} of what was let in)"),
        ("  half of them by", f"{half} (the median)"),
        ("  on average by", f"{span(mean)} (the mean)"),
    ]


_HOUR_HEADER = (
    "hour",
    "stopped",
    "delayed",
    "median delay",
    "let in at once",
    "refused",
    "deferred",
)


def _hour_row(hour: int, figures: Counter[str]) -> tuple[str, ...]:
    median = median_waited(figures)
    counts = (
        sum(found.values())
        for found in (
            _at_once(figures),
            by_reason(figures, Verdict.REJECT),
            by_reason(figures, Verdict.DEFER),
        )
    )
    return (
        moment(hour),
        str(figures[STOPPED]),
        str(figures[_RETRIED]),
        "" if median is None else span(median),
        *(str(count) for count in counts),
    )
