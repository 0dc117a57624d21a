"""What greylisting did in a time: figures of its hours, and of all of them together."""

from __future__ import annotations

from collections import Counter

from greylag.core.figures import HOUR, hour_of
from greylag.core.summary import Summary, summarised
from greylag.core.value import value
from greylag.core.verdict import Reason
from greylag.store.base import FIGURES, Store

NOT_COUNTED = tuple(reason for reason in Reason if not reason.counted)


@value
class Report:
    """The figures of some hours, and the records that there are now."""

    since: int  # the first hour's start
    until: int
    total: Summary
    hours: list[tuple[int, Summary]]  # by their starts, those that have any
    waiting: int
    passed: int
    no_figures: str | None  # why the store keeps none


def report(store: Store, now: int, seconds: int) -> Report:
    """Return the figures of all hours that lie, in part at least, in so many seconds before now."""
    start = hour_of(now - seconds)
    hours = store.figures(start, hour_of(now) + HOUR)
    waiting, passed = store.count(now)
    no_figures = store.lacks(FIGURES)
    added: Counter[str] = Counter()
    for figures in hours.values():
        added.update(figures)
    by_hours = [(hour, summarised(figures)) for hour, figures in hours.items()]
    return Report(start, now, summarised(added), by_hours, waiting, passed, no_figures)
