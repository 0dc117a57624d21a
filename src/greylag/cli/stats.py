"""`greylag stats`: what never came back, what was delayed and for how long, what was let in."""

from __future__ import annotations

from contextlib import closing

import click

from greylag.admin.figures import NOT_COUNTED, Report, report
from greylag.admin.moments import moment, span
from greylag.admin.overview import Step
from greylag.admin.top import most_deferred
from greylag.cli.common import Run, examples, json_option
from greylag.cli.output import say, write_fields, write_json, write_remark
from greylag.cli.plain import plain_option
from greylag.cli.since import since_option
from greylag.cli.statsby import (
    CHOICES,
    NAMES,
    REASON,
    STEPS,
    tally_document,
    whole_days,
    write_names,
    write_reasons,
    write_steps,
)
from greylag.cli.switched import switch_fields, switch_json
from greylag.core.history import Tally
from greylag.core.summary import Summary
from greylag.show.summaries import CLASSES, half_waited
from greylag.store.base import HISTORY


@click.command(epilog=examples("greylag stats", "greylag stats --since 7d --by day"))
@since_option(
    "24h", "How far back, such as 90m or 7d. Figures are kept by the hour: whole hours count."
)
@click.option("--by-hour", is_flag=True, help="The same as --by hour.")
@click.option(
    "--by",
    type=click.Choice(CHOICES),
    help="Show each hour, day, week or month as well; or the answers by reason; or by who it was "
    "that was deferred: whole days (UTC).",
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Names shown.")
@plain_option
@json_option
@click.pass_obj
def stats(run: Run, since: int, by_hour: bool, by: str | None, limit: int) -> None:
    """Show what never came back, was delayed, let in and refused.

    A triplet has never come back when its retry window is over, so this shows one retry window
    later (and `greylag expire` has to run). Part of it is likely spam, but not all.

    Answers that need no store are not counted, such as those for your own users (relay,
    authenticated); nor are connections that JGREYLIST lets in or refuses. --json names them all.
    """
    by = _chosen(by_hour, by)
    names: dict[str, Tally] = {}
    with closing(run.open_store()) as store:
        found = report(store, run.now, since, STEPS.get(by or "", Step.HOUR))
        if by in NAMES:
            names = most_deferred(store, run.policy, run.now, since, NAMES[by], limit)
            if (lacking := store.lacks(HISTORY)) is not None:
                say(lacking)
    if run.json:
        _write_json(found, by, names)
        return
    times = [("since", moment(found.since)), ("until", moment(found.until))]
    write_fields([*times, *switch_fields(found.switch, run.now)])
    write_remark()
    write_fields([*figure_lines(found.total), _records(found)])
    if by is not None:
        write_remark()
        if by in NAMES:
            write_remark(whole_days(run.now, since))
        _write_by(by, found, names)
    if found.no_figures is not None:
        say(found.no_figures)


def _records(found: Report) -> tuple[str, str]:
    """Return how many records there are; where counting takes long, at which time it was so."""
    numbers = f"{found.waiting} waiting for a retry, {found.passed} passed"
    if found.counted == found.until:
        return "records now", numbers
    return "records", f"{numbers} (counted at {moment(found.counted)})"


def _chosen(by_hour: bool, by: str | None) -> str | None:
    if by_hour and by not in (None, Step.HOUR.value):
        raise click.UsageError("--by-hour and --by do not go together")
    return Step.HOUR.value if by_hour else by


def _write_by(by: str, found: Report, names: dict[str, Tally]) -> None:
    if by in STEPS:
        write_steps(by, found.hours)
    elif by == REASON:
        write_reasons(found.total)
    else:
        write_names(NAMES[by], names)


def _write_json(found: Report, by: str | None, names: dict[str, Tally]) -> None:
    document: dict[str, object] = {"since": found.since, "until": found.until}
    document |= figure_document(found.total)
    numbers = {"waiting": found.waiting, "passed": found.passed}
    document["records"] = {**numbers, "counted_at": found.counted}
    step = by if by in STEPS else Step.HOUR.value
    document[f"{step}s"] = [{step: start, **figure_document(one)} for start, one in found.hours]
    if by in NAMES:
        document[by.replace("-", "_")] = [
            {"name": name or None, **tally_document(of)} for name, of in names.items()
        ]
    document["switch"] = switch_json(found.switch)
    document["no_figures"] = found.no_figures
    document["not_counted"] = [reason.value for reason in NOT_COUNTED]
    write_json(document)


def figure_document(of: Summary) -> dict[str, object]:
    """Return the figures as JSON has them."""
    return {
        "never_came_back": {
            "count": of.stopped,
            **{word.replace("-", "_"): number for word, number in of.never.items()},
        },
        "delayed": {
            "count": of.retried,
            "median_at_most_seconds": of.median_bound,
            "mean_seconds": of.mean_delay,
            "share": None if of.share is None else round(of.share, 4),
        },
        "let_in_at_once": _answers(of.at_once),
        "refused": _answers(of.refused),
        "deferred": _answers(of.deferred),
        "observed": _answers(of.observed),
        "forgotten_after_passing": of.delayed,
        "evicted": of.evicted,
        "released": of.released,
    }


def _answers(counts: dict[str, int]) -> dict[str, object]:
    reasons = [{"reason": reason, "count": count} for reason, count in counts.items()]
    return {"count": sum(counts.values()), "by_reason": reasons}


def figure_lines(of: Summary) -> list[tuple[str, str]]:
    """Return the figures in words, as names and values."""
    lines = [*_never(of), *_delayed(of)]
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
        lines.append(("evicted", f"{_waiting(of.evicted)} had to make room"))
    if of.released:
        lines.append(("released", f"{_waiting(of.released)}, by admins (greylag release)"))
    return lines


def _waiting(number: int) -> str:
    return f"{number} waiting triplet{'' if number == 1 else 's'}"


def _never(of: Summary) -> list[tuple[str, str]]:
    lines = [("never came back", str(of.stopped))]
    if of.stopped:
        lines += [
            (f"  {CLASSES[word]}", f"{number} ({number / of.stopped:.1%})")
            for word, number in of.never.items()
        ]
    return lines


def _delayed(of: Summary) -> list[tuple[str, str]]:
    mean, share, half = of.mean_delay, of.share, half_waited(of, span)
    if mean is None or share is None:
        return [("delayed", str(of.retried))]
    return [
        ("delayed", f"{of.retried} ({share:.1%} of what was let in)"),
        ("  half of them by", f"{half} (the median)"),
        ("  on average by", f"{span(mean)} (the mean)"),
    ]
