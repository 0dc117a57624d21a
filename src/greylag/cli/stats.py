"""`greylag stats`: what greylisting stopped, what it delayed and for how long, what it let in."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

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
from greylag.core.figures import HOUR, WAITED_BOUNDS, hour_of
from greylag.core.summary import Summary, summarised
from greylag.core.verdict import Reason

NOT_COUNTED = tuple(reason for reason in Reason if not reason.counted)


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
    added: Counter[str] = Counter()
    for figures in hours.values():
        added.update(figures)
    total = summarised(added)
    by_hours = [(hour, summarised(figures)) for hour, figures in hours.items()]
    if run.json:
        document: dict[str, object] = {"since": start, "until": run.now, **_document(total)}
        document["records"] = {"waiting": waiting, "passed": passed}
        document["hours"] = [{"hour": hour, **_document(one)} for hour, one in by_hours]
        document["no_figures"] = no_figures
        document["not_counted"] = [reason.value for reason in NOT_COUNTED]
        write_json(document)
        return
    write_fields([("since", moment(start)), ("until", moment(run.now))])
    write("")
    write_fields(_lines(total, waiting, passed))
    if by_hour:
        write("")
        write_table(_HOUR_HEADER, [_hour_row(*pair) for pair in by_hours])
    if no_figures is not None:
        say(f"no figures are kept: {no_figures}")
    names = ", ".join(reason.value for reason in NOT_COUNTED)
    say_wrapped(f"Not counted are answers that need no store: {names}.")
    say_wrapped("Not counted are connections that JGREYLIST lets in or refuses.")


def _document(of: Summary) -> dict[str, object]:
    return {
        "stopped": of.stopped,
        "delayed": {
            "count": of.retried,
            "median_seconds": of.median_delay,
            "mean_seconds": of.mean_delay,
            "share": None if of.share is None else round(of.share, 4),
        },
        "let_in_at_once": _answers(of.at_once),
        "refused": _answers(of.refused),
        "deferred": _answers(of.deferred),
        "forgotten_after_passing": of.delayed,
        "evicted": of.evicted,
    }


def _answers(counts: dict[str, int]) -> dict[str, object]:
    reasons = [{"reason": reason, "count": count} for reason, count in counts.items()]
    return {"count": sum(counts.values()), "by_reason": reasons}


def _lines(of: Summary, waiting: int, passed: int) -> list[tuple[str, str]]:
    lines = [
        ("stopped", f"{of.stopped} triplets were forgotten that never came back"),
        *_delayed(of),
    ]
    for name, counts in (
        ("let in at once", of.at_once),
        ("refused", of.refused),
        ("deferred answers", of.deferred),
    ):
        lines.append((name, str(sum(counts.values()))))
        lines += [(f"  {reason}", str(count)) for reason, count in counts.items()]
    if of.evicted:
        lines.append(("evicted", f"{of.evicted} waiting triplets had to make room"))
    return [*lines, ("records now", f"{waiting} waiting for a retry, {passed} passed")]


def _delayed(of: Summary) -> list[tuple[str, str]]:
    mean, share, bound = of.mean_delay, of.share, of.median_bound
    if mean is None or share is None:
        return [("delayed", str(of.retried))]
    half = f"more than {span(WAITED_BOUNDS[-1])}" if bound is None else f"at most {span(bound)}"
    return [
        ("delayed", f"{of.retried} ({share:.1%} of what was let in)"),
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


def _hour_row(hour: int, of: Summary) -> tuple[str, ...]:
    median = of.median_delay
    return (
        moment(hour),
        str(of.stopped),
        str(of.retried),
        "" if median is None else span(median),
        *(str(sum(counts.values())) for counts in (of.at_once, of.refused, of.deferred)),
    )
