"""What greylisting did in a time: figures of its hours, and of all of them together."""

from __future__ import annotations

from greylag.admin.overview import Step, since
from greylag.admin.switch import holding
from greylag.core.summary import Summary
from greylag.core.switch import Switch
from greylag.core.value import value
from greylag.core.verdict import Reason
from greylag.store.base import Store

NOT_COUNTED = tuple(reason for reason in Reason if not reason.counted)


@value
class Report:
    """The figures of some hours, and the records that there are now."""

    since: int  # the first hour's start
    until: int
    total: Summary
    hours: list[tuple[int, Summary]]  # or longer steps, by their starts; those that have any
    waiting: int
    passed: int
    counted: int  # when these two were: now, but where that would take long
    no_figures: str | None  # why the store keeps none
    switch: Switch | None = None  # that lies over the settings now


def report(store: Store, now: int, seconds: int, step: Step = Step.HOUR) -> Report:
    """Return the figures of all steps that lie, in part at least, in so many seconds before now."""
    found = since(store, now, step, seconds)
    records = store.count_in_time(now)
    steps = [(part.start, part.summary) for part in found.parts]
    facts = (*records, found.no_figures, holding(store, now))
    return Report(found.since, now, found.total, steps, *facts)
