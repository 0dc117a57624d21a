"""`greylag stats`: what greylisting stopped, what it delayed and for how long, what it let in."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin.figures import NOT_COUNTED, report
from greylag.admin.moments import moment, span
from greylag.cli.common import Run, examples, json_option
from greylag.cli.output import say, say_wrapped, write, write_fields, write_json, write_table
from greylag.core.duration import parse_duration
from greylag.core.figures import WAITED_BOUNDS
from greylag.core.summary import Summary


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
    with closing(run.open_store()) as store:
        found = report(store, run.now, since)
    if run.json:
        document: dict[str, object] = {"since": found.since, "until": found.until}
        document |= _document(found.total)
        document["records"] = {"waiting": found.waiting, "passed": found.passed}
        document["hours"] = [{"hour": hour, **_document(one)} for hour, one in found.hours]
        document["no_figures"] = found.no_figures
        document["not_counted"] = [reason.value for reason in NOT_COUNTED]
        write_json(document)
        return
    write_fields([("since", moment(found.since)), ("until", moment(found.until))])
    write("")
    write_fields(_lines(found.total, found.waiting, found.passed))
    if by_hour:
        write("")
        write_table(_HOUR_HEADER, [_hour_row(*pair) for pair in found.hours])
    if found.no_figures is not None:
        say(found.no_figures)
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
        "observed": _answers(of.observed),
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
    if of.observed:
        lines.append(("only observed", f"{sum(of.observed.values())} would not have been let in"))
        lines += [(f"  {reason}", str(count)) for reason, count in of.observed.items()]
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
