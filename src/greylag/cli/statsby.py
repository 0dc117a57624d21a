"""Tables of `greylag stats`: the figures of each hour or day, by reason, or by who it was."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from greylag.admin.moments import moment, span
from greylag.admin.overview import Step
from greylag.admin.top import first_day
from greylag.cli.output import drawable, plain, write_remark, write_table
from greylag.core.history import By, Tally
from greylag.core.summary import Summary
from greylag.show.bars import bar
from greylag.show.summaries import half_waited

REASON = "reason"
STEPS = {step.value: step for step in Step}
NAMES = {by.value: by for by in By}
CHOICES = (*STEPS, REASON, *NAMES)
OTHERS = "(all others)"
DEFERRED = "deferred mails"  # first contacts; a mail may have several deferred answers
NOTHING_COUNTED = "nothing was counted in this time"
_WIDTH = 20  # characters of the longest bar
_STEP_HEADER = (
    *("never came back", "likely spam", "delayed", "median delay"),
    *("let in at once", "refused", "deferred answers"),
)


def write_steps(word: str, steps: Iterable[tuple[int, Summary]]) -> None:
    """Write the figures of each step of time."""
    shown = list(steps)
    rows = [_step_row(start, of) for start, of in shown]
    numbers = [sum(of.deferred.values()) for _start, of in shown]
    _write(word, (word, *_STEP_HEADER), rows, numbers)


def _step_row(start: int, of: Summary) -> tuple[str, ...]:
    return (
        moment(start),
        *map(str, (of.stopped, of.likely_spam, of.retried)),
        half_waited(of, span) or "",
        *(str(sum(counts.values())) for counts in (of.at_once, of.refused, of.deferred)),
    )


def write_reasons(of: Summary) -> None:
    """Write the answers by verdict and reason, the most frequent first."""
    answers = (("let in", of.let_in), ("deferred", of.deferred), ("refused", of.refused))
    counts = [(name, word, n) for name, found in answers for word, n in found.items()]
    counts.sort(key=lambda one: -one[2])
    rows = [(name, reason, str(number)) for name, reason, number in counts]
    _write(REASON, ("answer", "reason", "count"), rows, [number for *_words, number in counts])


def whole_days(now: int, seconds: int) -> str:
    """Return since when names are counted: a day's figures of them are not kept by the hour."""
    return f"Names are counted by whole days: since {moment(first_day(now, seconds))}."


def write_names(by: By, tallies: dict[str, Tally]) -> None:
    """Write the figures of names, those with most deferrals first."""
    header = (by.value.replace("-", " "), DEFERRED, "passed", "mean delay", "never came back")
    rows = [
        (
            name or OTHERS,
            str(of.deferred),
            str(of.passed),
            span(of.waited / of.passed) if of.passed else "",
            str(of.never),
            str(of.likely_spam),
        )
        for name, of in tallies.items()
    ]
    _write(by.value, (*header, "likely spam"), rows, [of.deferred for of in tallies.values()])


def tally_document(of: Tally) -> dict[str, object]:
    """Return a name's figures as JSON has them."""
    return {
        "deferred": of.deferred,
        "passed": of.passed,
        "mean_delay_seconds": round(of.waited / of.passed) if of.passed else None,
        "never_came_back": of.never,
        "likely_spam": of.likely_spam,
    }


def _write(
    name: str, header: Sequence[str], rows: Sequence[tuple[str, ...]], numbers: Sequence[int]
) -> None:
    """Write a table; on a terminal with a bar for how much that is."""
    if not rows:
        write_remark(NOTHING_COUNTED)
        return
    if sys.stdout.isatty() and not plain():
        ascii_alone = not drawable("█▏")
        most = max(numbers)
        bars = [bar(number, most, _WIDTH, plain=ascii_alone) for number in numbers]
        header, rows = (*header, ""), [(*row, b) for row, b in zip(rows, bars, strict=True)]
    write_table(header, rows, name)
